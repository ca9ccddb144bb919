package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) queueCommand() *cobra.Command {
	return group("queue", "Share the nodes out between queues of jobs", []string{"queues"},
		c.queueList(), c.queueSet(),
		c.queuePause("pause", "Let the jobs of queues wait; what runs goes on", true),
		c.queuePause("resume", "Let the jobs of paused queues run again", false),
		c.removeEach("Forget what is set for queues; their jobs stay", "/api/queues"))
}

func (c *cli) queueList() *cobra.Command {
	list := &orchionv1.ListQueuesResponse{}
	return c.listAll("List queues, with how much waits and runs", list,
		func(ctx context.Context, query url.Values) (string, error) {
			page := &orchionv1.ListQueuesResponse{}
			err := c.client().call(ctx, http.MethodGet, "/api/queues", query, nil, page)
			list.Queues = append(list.Queues, page.GetQueues()...)
			return page.GetNextPageToken(), err
		},
		func(w io.Writer) error {
			rows := [][]string{{"NAME", "WEIGHT", "QUEUED", "RUNNING", "LIMIT", "STATE"}}
			for _, q := range list.GetQueues() {
				rows = append(rows, queueRow(q))
			}
			return table(w, rows...)
		})
}

func queueRow(q *orchionv1.Queue) []string {
	limit, state := "-", "open"
	if q.GetMaxRunning() > 0 {
		limit = strconv.Itoa(int(q.GetMaxRunning()))
	}
	if q.GetPaused() {
		state = "paused"
	}
	return []string{
		q.GetName(), strconv.Itoa(int(q.GetWeight())), strconv.FormatInt(q.GetQueued(), 10),
		strconv.FormatInt(q.GetRunning(), 10), limit, state,
	}
}

func (c *cli) queueSet() *cobra.Command {
	var weight, maxRunning int32
	cmd := &cobra.Command{
		Use:     "set NAME",
		Short:   "Set a queue's share and limit; what is not named stays",
		Example: "  orchion queue set night --weight 3 --max-running 20\n  orchion queue set night --max-running 0",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &orchionv1.UpdateQueueRequest{}
			if cmd.Flags().Changed("weight") {
				request.Weight = &weight
			}
			if cmd.Flags().Changed("max-running") {
				request.MaxRunning = &maxRunning
			}
			if request.Weight == nil && request.MaxRunning == nil {
				return usagef("%s needs --weight or --max-running", cmd.CommandPath())
			}
			return c.updateQueue(cmd, args[0], request)
		},
	}
	cmd.Flags().Int32Var(&weight, "weight", 1, "its share of what runs against the others', 1 to 1000")
	cmd.Flags().Int32Var(&maxRunning, "max-running", 0, "how many of its jobs may run at one time; 0: no limit")
	return cmd
}

func (c *cli) queuePause(verb, short string, paused bool) *cobra.Command {
	return forEach(verb, short, func(cmd *cobra.Command, name string) error {
		return c.updateQueue(cmd, name, &orchionv1.UpdateQueueRequest{Paused: &paused})
	})
}

// updateQueue changes a queue and shows what it is now.
func (c *cli) updateQueue(cmd *cobra.Command, name string, request *orchionv1.UpdateQueueRequest) error {
	q := &orchionv1.Queue{}
	if err := c.client().call(cmd.Context(), http.MethodPatch, "/api/queues/"+segment(name), nil, request, q); err != nil {
		return err
	}
	return c.show(cmd.OutOrStdout(), q, func(w io.Writer) error {
		row := queueRow(q)
		_, err := fmt.Fprintf(w, "%s is %s, with weight %s and limit %s\n", printable(row[0]), row[5], row[1], row[4])
		return err
	})
}
