package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const aliasesPath = "/api/gateway/aliases"

func (c *cli) aliasCommand() *cobra.Command {
	return group("alias", "Give models names that clients use", []string{"aliases"},
		c.aliasList(), c.aliasSet(), c.removeEach("Forget aliases; models stay", aliasesPath))
}

func (c *cli) aliasList() *cobra.Command {
	list := &orchionv1.ListAliasesResponse{}
	return c.listAll("List aliases, and the models they lead to", list,
		func(ctx context.Context, query url.Values) (string, error) {
			page := &orchionv1.ListAliasesResponse{}
			err := c.client().call(ctx, http.MethodGet, aliasesPath, query, nil, page)
			list.Aliases = append(list.Aliases, page.GetAliases()...)
			return page.GetNextPageToken(), err
		},
		func(w io.Writer) error {
			if len(list.GetAliases()) == 0 {
				_, err := fmt.Fprintln(w, "There are no aliases. Make one: orchion alias set fast qwen3:0.6b llama3.2:1b")
				return err
			}
			rows := [][]string{{"NAME", "MODELS", "LEADS TO"}}
			for _, a := range list.GetAliases() {
				rows = append(rows, []string{a.GetName(), strings.Join(a.GetModels(), ", "), leadsTo(a)})
			}
			return table(w, rows...)
		})
}

// leadsTo says which models answer for an alias.
func leadsTo(a *orchionv1.Alias) string {
	if a.GetShadowed() {
		return "nothing: a model has its name"
	}
	return strings.Join(a.GetLeadsTo(), ", ")
}

func (c *cli) aliasSet() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME MODEL...",
		Short: "Let a name lead to models, the first that can answer going first",
		Long: `Let a name lead to models. A request for the name goes to the first of them that has
a replica that is ready; the others follow when it fails before it has answered
anything. A model may be another alias, and need not be deployed yet.`,
		Example: "  orchion alias set fast qwen3:0.6b\n  orchion alias set coder qwen2.5-coder:7b fast",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s takes a NAME and one MODEL or more", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a := &orchionv1.Alias{}
			request := &orchionv1.PutAliasRequest{Models: args[1:]}
			if err := c.client().call(cmd.Context(), http.MethodPut, aliasesPath+"/"+segment(args[0]), nil, request, a); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), a, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s leads to %s\n", printable(a.GetName()), printable(leadsTo(a)))
				return err
			})
		},
	}
}
