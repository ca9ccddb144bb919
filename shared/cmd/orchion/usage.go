package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/settings"
)

var usageGroups = []string{"model", "caller", "node"}

// usageFilter is what both commands about usage are narrowed by.
type usageFilter struct{ model, caller string }

func (f *usageFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.model, "model", "", "only calls of this model")
	cmd.Flags().StringVar(&f.caller, "caller", "", "only calls of this caller, such as local or job:ID")
}

func (f *usageFilter) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"model": f.model, "caller": f.caller} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

func (c *cli) usageCommand() *cobra.Command {
	var filter usageFilter
	var by, node string
	since := 24 * time.Hour
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show how much models were used, by whom and where",
		Example: "  orchion usage\n  orchion usage --by caller --since 7d\n  orchion usage --by node --model qwen3:0.6b\n" +
			"  orchion usage requests --status failed",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s has no command %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(usageGroups, by) {
				return usagef("--by is %q; it must be one of %s", by, strings.Join(usageGroups, ", "))
			}
			if since < time.Minute {
				return usagef("--since is %v; it must be at least 1m", since)
			}
			now := time.Now().UTC()
			query := filter.query()
			query.Set("groupBy", by)
			query.Set("maxSeries", "50")
			query.Set("from", now.Add(-since).Format(time.RFC3339))
			query.Set("to", now.Format(time.RFC3339))
			if node != "" {
				query.Set("nodeId", node)
			}
			report := &orchionv1.GetUsageResponse{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/usage", query, nil, report); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), report, func(w io.Writer) error { return printUsage(w, by, report) })
		},
	}
	filter.flags(cmd)
	cmd.Flags().StringVar(&node, "node", "", "only calls that this node answered")
	cmd.Flags().StringVar(&by, "by", usageGroups[0], "what is told apart: "+strings.Join(usageGroups, ", "))
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(usageGroups, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	cmd.Flags().Var(settings.NewPeriod(&since), "since", "how far back, such as 90m, 24h or 7d")
	cmd.AddCommand(c.usageRequests())
	return cmd
}

func printUsage(w io.Writer, by string, report *orchionv1.GetUsageResponse) error {
	rows := [][]string{{strings.ToUpper(by), "REQUESTS", "FAILED", "TOKENS IN", "TOKENS OUT", "TOKENS/S", "FIRST TOKEN", "P95 TIME"}}
	for _, s := range report.GetSeries() {
		name := s.GetKey()
		switch {
		case s.GetOthers():
			name = "(others)"
		case name == "":
			name = "(none)"
		}
		rows = append(rows, usageRow(name, s.GetTotal()))
	}
	if len(report.GetSeries()) != 1 {
		rows = append(rows, usageRow("total", report.GetTotal()))
	}
	if err := table(w, rows...); err != nil {
		return err
	}
	if report.GetTotal().GetTokensEstimated() > 0 {
		fmt.Fprintln(w, "~ counts the events of streams whose engines did not count tokens (stream_options.include_usage makes them).")
	}
	if n := report.GetLostRequests(); n > 0 {
		fmt.Fprintf(w, "%d calls since the orchestrator was started are not counted: they came faster than they could be.\n", n)
	}
	return nil
}

func usageRow(name string, c *orchionv1.UsageCounts) []string {
	return []string{
		name, strconv.FormatInt(c.GetRequests(), 10), strconv.FormatInt(c.GetFailed(), 10),
		strconv.FormatInt(c.GetTokensIn(), 10), tokensText(c.GetTokensOut(), c.GetTokensEstimated() > 0), rateText(c.GetTokensPerSecond()),
		msText(c.GetFirstToken().GetP50Ms()), msText(c.GetDuration().GetP95Ms()),
	}
}

// tokensText marks what was not counted by an engine.
func tokensText(n int64, estimated bool) string {
	if estimated {
		return "~" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}

func rateText(perSecond float64) string {
	if perSecond <= 0 {
		return "-"
	}
	return strconv.FormatFloat(perSecond, 'f', 1, 64)
}

func msText(ms float64) string {
	switch {
	case ms <= 0:
		return "-"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	default:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "s"
	}
}

func (c *cli) usageRequests() *cobra.Command {
	var filter usageFilter
	var status string
	var limit int
	cmd := &cobra.Command{
		Use:   "requests",
		Short: "List the newest calls of models, without what was asked and answered",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			const most = 1000
			if limit < 1 || limit > most {
				return usagef("--limit is %d; it must be between 1 and %d", limit, most)
			}
			query := filter.query()
			query.Set("pageSize", strconv.Itoa(limit))
			if status != "" {
				query.Set("status", status)
			}
			list := &orchionv1.ListUsageRequestsResponse{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/usage/requests", query, nil, list); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				rows := [][]string{{"AGE", "STATUS", "MODEL", "CALLER", "NODE", "TOKENS IN", "TOKENS OUT", "TOKENS/S", "FIRST TOKEN", "TIME", "REQUEST"}}
				for _, r := range list.GetRequests() {
					rows = append(rows, requestRow(r))
				}
				return table(w, rows...)
			})
		},
	}
	filter.flags(cmd)
	cmd.Flags().StringVar(&status, "status", "", "only those that ended so: ok, failed, cancelled or an HTTP status")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, up to 1000")
	return cmd
}

func requestRow(r *orchionv1.UsageRequest) []string {
	status := strconv.Itoa(int(r.GetStatus()))
	if r.GetBroken() {
		status += ", broke off"
	}
	return []string{
		age(r.GetTime()), status, orDash(r.GetModel()), r.GetCaller(), orDash(r.GetNodeId()), strconv.FormatInt(r.GetTokensIn(), 10),
		tokensText(r.GetTokensOut(), r.GetTokensEstimated()), rateText(r.GetTokensPerSecond()), msText(r.GetFirstTokenMs()),
		msText(r.GetDurationMs()), r.GetRequestId(),
	}
}
