package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/version"
)

func (c *cli) versionCommand() *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say the versions of this program and of the orchestrator",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if c.output == outputTable {
				if _, err := fmt.Fprintln(out, "orchion", version.String()); err != nil {
					return err
				}
			}
			if clientOnly {
				return nil
			}
			server := &orchionv1.Version{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/version", nil, nil, server); err != nil {
				return err
			}
			return c.show(out, server, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "orchestrator %s, up %s\n", printable(server.GetVersion()), age(server.GetStartedAt()))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "only this program's, without asking the orchestrator")
	return cmd
}
