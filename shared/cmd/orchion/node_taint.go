package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) nodeTaint(put bool) *cobra.Command {
	verb, short := "taint", "Keep work away from a machine that does not tolerate a taint"
	if !put {
		verb, short = "untaint", "Take taints off a machine"
	}
	return &cobra.Command{
		Use:               verb + " ID TAINT...",
		Short:             short,
		Example:           "  orchion node " + verb + " attic gpu-only\n  orchion job submit --tolerate gpu-only --image trainer",
		Args:              atLeastOne("ID and taint"),
		ValidArgsFunction: c.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s takes the node's id and then one taint or more", cmd.CommandPath())
			}
			var request proto.Message = &orchionv1.TaintNodeRequest{Taints: args[1:]}
			if !put {
				request = &orchionv1.UntaintNodeRequest{Taints: args[1:]}
			}
			n := &orchionv1.Node{}
			if err := c.client().call(cmd.Context(), http.MethodPost, "/api/nodes/"+segment(args[0])+":"+verb, nil, request, n); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), n, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s has the taints: %s\n", n.GetId(), orDash(strings.Join(n.GetTaints(), ", ")))
				return err
			})
		},
	}
}
