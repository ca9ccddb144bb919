package main

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
)

// listAll is the command that lists everything of a kind. read adds a page to
// list and answers the next one's token; write prints the table.
func (c *cli) listAll(
	short string, list proto.Message, read func(context.Context, url.Values) (string, error), write func(io.Writer) error,
) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   short,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if err := c.pages(query, func() (string, error) { return read(cmd.Context(), query) }); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, write)
		},
	}
}

// forEach is a command that does something with every name it is given.
func forEach(verb, short string, do func(cmd *cobra.Command, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME...",
		Short: short,
		Args:  atLeastOne("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(args, func(name string) error { return do(cmd, name) })
		},
	}
}

// removeEach is the command that deletes what stands under a path by its name.
func (c *cli) removeEach(short, path string) *cobra.Command {
	return forEach("rm", short, func(cmd *cobra.Command, name string) error {
		return c.client().call(cmd.Context(), http.MethodDelete, path+"/"+segment(name), nil, nil, nil)
	})
}
