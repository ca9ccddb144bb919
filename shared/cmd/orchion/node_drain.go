package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) nodeDrain() *cobra.Command {
	request := &orchionv1.DrainNodeRequest{}
	var move bool
	var deadline time.Duration
	cmd := &cobra.Command{
		Use:   "drain ID...",
		Short: "Let machines take no new work and have what is there end or move",
		Long: "Let machines take no new work and have what is there end or move.\n\n" +
			"Jobs end by themselves unless --move or --deadline is given: then they are stopped, at once or\n" +
			"when the deadline is over, and queued again without counting against their retries. Models get\n" +
			"their replicas elsewhere first, where there is room.",
		Example: "  orchion node drain attic --deadline 30m --reason \"new disk\" --maintenance\n" +
			"  orchion node drain attic --move",
		Args:              atLeastOne("ID"),
		ValidArgsFunction: c.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if move && cmd.Flags().Changed("deadline") {
				return usagef("--move and --deadline do not go together: --move waits for no job")
			}
			if cmd.Flags().Changed("deadline") {
				request.Deadline = durationpb.New(deadline)
			}
			if move {
				request.Mode = orchionv1.DrainMode_DRAIN_MODE_MOVE
			}
			return c.setNodes(cmd, args, "drain", request)
		},
	}
	cmd.Flags().BoolVar(&move, "move", false, "stop its jobs now and run them elsewhere")
	cmd.Flags().DurationVar(&deadline, "deadline", 0, "how long jobs may go on until they are moved, such as 30m; up to 720h")
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for people")
	cmd.Flags().BoolVar(&request.Maintenance, "maintenance", false, "the machine is expected to go away: that it is offline is no fault")
	return cmd
}

// nodeSet is a command that changes whether machines take work.
func (c *cli) nodeSet(verb, short string, request proto.Message) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " ID...",
		Short:             short,
		Args:              atLeastOne("ID"),
		ValidArgsFunction: c.completeNodes,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.setNodes(cmd, args, verb, request) },
	}
}

func (c *cli) setNodes(cmd *cobra.Command, ids []string, verb string, request proto.Message) error {
	return each(ids, func(id string) error {
		n := &orchionv1.Node{}
		if err := c.client().call(cmd.Context(), http.MethodPost, "/api/nodes/"+segment(id)+":"+verb, nil, request, n); err != nil {
			return err
		}
		return c.show(cmd.OutOrStdout(), n, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s is %s\n", n.GetId(), nodeState(n))
			return err
		})
	})
}

// nodeState says in a few words whether a node is there and takes work.
func nodeState(n *orchionv1.Node) string {
	words := []string{enumText(n.GetState().String(), "NODE_STATE_")}
	if d := n.GetDrain(); d != nil {
		switch {
		case n.GetState() == orchionv1.NodeState_NODE_STATE_OFFLINE && d.GetMaintenance():
			words = append(words, "maintenance")
		case n.GetState() == orchionv1.NodeState_NODE_STATE_OFFLINE:
			words = append(words, "drained")
		case d.GetRemainingJobs() == 1:
			words[0] += " (1 job left)"
		case d.GetRemainingJobs() > 0:
			words[0] += fmt.Sprintf(" (%d jobs left)", d.GetRemainingJobs())
		}
	}
	if n.GetCordoned() {
		words = append(words, "cordoned")
	}
	if n.GetCoolDown() != nil {
		words = append(words, "cooling down")
	}
	return strings.Join(words, ", ")
}

func drainFacts(d *orchionv1.NodeDrain) [][]string {
	if d == nil {
		return nil
	}
	how := "its jobs end by themselves"
	switch {
	case d.GetMode() == orchionv1.DrainMode_DRAIN_MODE_MOVE:
		how = "its jobs are moved"
	case d.GetDeadline() != nil && time.Until(d.GetDeadline().AsTime()) > 0:
		how += ", or are moved in " + short(time.Until(d.GetDeadline().AsTime()))
	case d.GetDeadline() != nil:
		how = "its jobs are moved: the deadline is over"
	}
	facts := [][]string{{"draining", "since " + age(d.GetSince()) + ": " + how}}
	if d.GetReason() != "" {
		facts = append(facts, []string{"reason", d.GetReason()})
	}
	if d.GetMaintenance() {
		facts = append(facts, []string{"maintenance", "expected to go away"})
	}
	return append(facts, []string{"jobs left", strconv.Itoa(int(d.GetRemainingJobs()))})
}
