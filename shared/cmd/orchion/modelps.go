package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) modelPs() *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:     "ps [NAME]",
		Short:   "List the copies of models: where each is, how it stands and what it has to do",
		Example: "  orchion model ps\n  orchion model ps qwen3-0-6b\n  orchion model ps --node attic",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes at most one NAME; it was given %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: c.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := c.deployments(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				list.Deployments = slices.DeleteFunc(list.Deployments, func(d *orchionv1.Deployment) bool { return d.GetName() != args[0] })
				if len(list.Deployments) == 0 {
					return fmt.Errorf("there is no deployment %q", args[0])
				}
			}
			for _, d := range list.GetDeployments() {
				d.Replicas = slices.DeleteFunc(d.Replicas, func(r *orchionv1.Replica) bool { return node != "" && r.GetNodeId() != node })
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error { return printReplicas(w, list.GetDeployments()) })
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "only copies on this node")
	return cmd
}

func printReplicas(w io.Writer, deployments []*orchionv1.Deployment) error {
	rows := [][]string{{"MODEL", "NODE", "STATE", "REQUESTS", "READY FOR", "REPLICA", "REASON"}}
	for _, d := range deployments {
		for _, r := range d.GetReplicas() {
			state := replicaState(r)
			if r.GetState() == orchionv1.ReplicaState_REPLICA_STATE_PULLING {
				state += fmt.Sprintf(" %.0f %%", r.GetProgressPercent())
			}
			rows = append(rows, []string{
				d.GetSpec().GetModel(), orDash(r.GetNodeId()), state, strconv.Itoa(int(r.GetInFlight())), age(r.GetReadyAt()), r.GetId(), orDash(r.GetReason()),
			})
		}
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(w, "No copies of models.")
		return err
	}
	slices.SortFunc(rows[1:], func(a, b []string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	return table(w, rows...)
}

func (c *cli) modelLogs() *cobra.Command {
	var replica string
	var follow, timestamps bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print the log of the engine that serves a model",
		Long: "Prints the log of the container in which the engine of a copy runs, as far as its node has it. Of several\n" +
			"copies it is one that serves, or the one that --replica names (see: orchion model ps).",
		Args:              exactly("NAME"),
		ValidArgsFunction: c.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if tail < 0 || tail > 10_000 {
				return usagef("--tail is %d; it must be 1 to 10000, or 0 for all", tail)
			}
			query := url.Values{}
			if replica != "" {
				query.Set("replicaId", replica)
			}
			if follow {
				query.Set("follow", "true")
			}
			if tail > 0 {
				query.Set("tail", strconv.Itoa(tail))
			}
			return c.copyLog(cmd.Context(), "/api/deployments/"+segment(args[0])+"/logs", query, timestamps, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&replica, "replica", "", "the copy, by its id")
	f.BoolVarP(&follow, "follow", "f", false, "go on until the engine ends")
	f.IntVar(&tail, "tail", 0, "only the last so many lines, up to 10000 (default: all)")
	f.BoolVarP(&timestamps, "timestamps", "t", false, "print when each line was written")
	return cmd
}
