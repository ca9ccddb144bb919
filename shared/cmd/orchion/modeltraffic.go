package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) modelQueues() *cobra.Command {
	return &cobra.Command{
		Use:   "queues [MODEL]",
		Short: "List how many requests wait for models, and how many are being answered",
		Long: "Lists the models that can be asked, with the requests that wait for a copy that has time for them:\n" +
			"interactive ones, and those of a batch, which go after them.",
		Example: "  orchion model queues\n  orchion model queues qwen3:0.6b -o json",
		Args:    atMostOneModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			list := &orchionv1.ListModelQueuesResponse{}
			err := c.traffic(cmd.Context(), args, func(ctx context.Context, query url.Values) (string, error) {
				page := &orchionv1.ListModelQueuesResponse{}
				err := c.client().call(ctx, http.MethodGet, "/api/gateway/queues", query, nil, page)
				list.Queues = append(list.Queues, page.GetQueues()...)
				return page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				if len(list.GetQueues()) == 0 {
					return noModelReady(w, args)
				}
				rows := [][]string{{"MODEL", "WAITING", "BATCH", "OLDEST", "ANSWERED NOW", "AT ONCE", "COPIES"}}
				for _, q := range list.GetQueues() {
					rows = append(rows, []string{
						q.GetModel(), strconv.Itoa(int(q.GetInteractive())), strconv.Itoa(int(q.GetBatch())), brief(q.GetOldest()),
						strconv.Itoa(int(q.GetInFlight())), noneOr(q.GetMaxInFlight()), strconv.Itoa(int(q.GetReplicas())),
					})
				}
				return table(w, rows...)
			})
		},
	}
}

func (c *cli) modelRoutes() *cobra.Command {
	return &cobra.Command{
		Use:   "routes [MODEL]",
		Short: "List the copies that requests go to, how fast they are and which are left alone",
		Long: "Lists what the gateway knows of each copy that is ready, and of engines that nodes have adopted: what it\n" +
			"has to do, how fast it was lately, and whether it failed and is left alone for a while.",
		Example: "  orchion model routes\n  orchion model routes qwen3:0.6b",
		Args:    atMostOneModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			list := &orchionv1.ListModelReplicasResponse{}
			err := c.traffic(cmd.Context(), args, func(ctx context.Context, query url.Values) (string, error) {
				page := &orchionv1.ListModelReplicasResponse{}
				err := c.client().call(ctx, http.MethodGet, "/api/gateway/replicas", query, nil, page)
				list.Replicas = append(list.Replicas, page.GetReplicas()...)
				return page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				if len(list.GetReplicas()) == 0 {
					return noModelReady(w, args)
				}
				rows := [][]string{{"MODEL", "NODE", "ENGINE", "ANSWERS NOW", "AT ONCE", "FIRST TOKEN", "TOKENS/S", "STATE"}}
				for _, r := range list.GetReplicas() {
					rows = append(rows, routeRow(r))
				}
				return table(w, rows...)
			})
		},
	}
}

func routeRow(r *orchionv1.ModelReplica) []string {
	state, rate := "asked", "-"
	switch r.GetBreaker() {
	case "open":
		state = "failed, left alone for " + brief(r.GetRetryAfter())
	case "half-open":
		state = "failed, tried again"
	}
	if r.GetTokensPerSecond() > 0 {
		rate = strconv.FormatFloat(r.GetTokensPerSecond(), 'f', 1, 64)
	}
	return []string{
		r.GetModel(), r.GetNodeId(), r.GetEngine(), strconv.Itoa(int(r.GetInFlight())), noneOr(r.GetMaxInFlight()),
		brief(r.GetFirstToken()), rate, state,
	}
}

// traffic reads all pages of what the gateway knows of a model, or of all.
func (c *cli) traffic(ctx context.Context, args []string, read func(context.Context, url.Values) (string, error)) error {
	query := url.Values{}
	if len(args) == 1 {
		query.Set("model", args[0])
	}
	return c.pages(query, func() (string, error) { return read(ctx, query) })
}

func atMostOneModel(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes at most one MODEL; it was given %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}

func noModelReady(w io.Writer, args []string) error {
	what := "No model is"
	if len(args) == 1 {
		what = "The model " + printable(args[0]) + " is not"
	}
	_, err := fmt.Fprintln(w, what+" ready. What is deployed: orchion model ls")
	return err
}

// noneOr is a limit; 0 is none.
func noneOr(n int32) string {
	if n == 0 {
		return "no limit"
	}
	return strconv.Itoa(int(n))
}

func brief(d *durationpb.Duration) string {
	switch v := d.AsDuration(); {
	case d == nil:
		return "-"
	case v < time.Second:
		return v.Round(time.Millisecond).String()
	default:
		return v.Round(time.Second).String()
	}
}
