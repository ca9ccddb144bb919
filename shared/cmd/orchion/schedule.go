package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) scheduleCommand() *cobra.Command {
	return group("schedule", "Submit jobs again and again, at times you name", []string{"schedules"},
		c.scheduleList(), c.scheduleApply(), c.schedulePreview(), c.scheduleTrigger(),
		c.schedulePause("pause", "Let schedules submit nothing", true),
		c.schedulePause("resume", "Let paused schedules go on; what they missed is not made up for", false),
		c.removeEach("Forget schedules; their jobs stay", "/api/schedules"))
}

func (c *cli) scheduleList() *cobra.Command {
	list := &orchionv1.ListSchedulesResponse{}
	return c.listAll("List schedules, with their last and their next run", list,
		func(ctx context.Context, query url.Values) (string, error) {
			page := &orchionv1.ListSchedulesResponse{}
			err := c.client().call(ctx, http.MethodGet, "/api/schedules", query, nil, page)
			list.Schedules = append(list.Schedules, page.GetSchedules()...)
			return page.GetNextPageToken(), err
		},
		func(w io.Writer) error {
			if len(list.GetSchedules()) == 0 {
				_, err := fmt.Fprintln(w, "No schedules. Make one: orchion schedule apply nightly --cron '30 3 * * *' --image docker.io/library/busybox -- echo hello")
				return err
			}
			rows := [][]string{{"NAME", "CRON", "TIME ZONE", "OVERLAP", "NEXT", "LAST", "LAST JOB", "REASON"}}
			for _, s := range list.GetSchedules() {
				rows = append(rows, []string{
					s.GetName(), s.GetCron(), scheduleZone(s), enumText(s.GetOverlap().String(), overlapPrefix),
					scheduleNext(s), clock(s.GetLastRunAt()), orDash(s.GetLastJobId()), orDash(s.GetReason()),
				})
			}
			return table(w, rows...)
		})
}

const overlapPrefix = "SCHEDULE_OVERLAP_"

func scheduleZone(s *orchionv1.Schedule) string {
	if s.GetTimeZone() == "" {
		return "UTC"
	}
	return s.GetTimeZone()
}

func scheduleNext(s *orchionv1.Schedule) string {
	if s.GetPaused() {
		return "paused"
	}
	return clock(s.GetNextRunAt())
}

// clock prints a time to the minute, in UTC.
func clock(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Format("2006-01-02 15:04Z")
}

var overlaps = map[string]orchionv1.ScheduleOverlap{
	"allow":   orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_ALLOW,
	"skip":    orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_SKIP,
	"replace": orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_REPLACE,
}

func (c *cli) scheduleApply() *cobra.Command {
	var s submission
	var cron, zone, overlap string
	var paused bool
	cmd := &cobra.Command{
		Use:   "apply NAME --cron CRON {-f FILE [--set NAME=VALUE...] | --image IMAGE [-- ARG...] | --chat MODEL PROMPT...}",
		Short: "Make a schedule, or replace what one of that name does",
		Long: "Makes a schedule, or replaces what one of that name does. The job is said as for job submit.\n" +
			"The times are five fields (minute, hour, day of month, month, day of week), or @hourly, @daily, @weekly,\n" +
			"@monthly or @yearly. Of the times that were missed while the orchestrator was down, the last is made up for.",
		Example: "  orchion schedule apply nightly --cron '30 3 * * 1-5' --time-zone Europe/Oslo --overlap skip -f job.yaml\n" +
			"  orchion schedule apply hourly --cron @hourly --image docker.io/library/busybox -- echo hello",
		Args: atLeastOne("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, ok := overlaps[overlap]
			if !ok {
				return usagef("--overlap is %q; it must be allow, skip or replace", overlap)
			}
			if cron == "" {
				return usagef("--cron is missing; write for example --cron '30 3 * * *'")
			}
			job, err := s.request(cmd, args[1:])
			if err != nil {
				return err
			}
			if job.Count != nil || job.GetIdempotencyKey() != "" {
				return usagef("a schedule submits one job at a time, under keys of its own: a count and an idempotency key do not go with it")
			}
			if err := c.upload(cmd.Context(), s.uploads, cmd.ErrOrStderr()); err != nil {
				return err
			}
			stored := &orchionv1.Schedule{}
			err = c.client().call(cmd.Context(), http.MethodPut, "/api/schedules/"+segment(args[0]), nil, &orchionv1.PutScheduleRequest{
				Cron: cron, TimeZone: zone, Overlap: policy, Paused: paused,
				Template: &orchionv1.JobTemplate{Name: job.GetName(), Labels: job.GetLabels(), Spec: job.GetSpec()},
			}, stored)
			if err != nil {
				return err
			}
			return c.showSchedule(cmd, stored)
		},
	}
	s.flags(cmd)
	scheduleTimes(cmd, &cron, &zone)
	f := cmd.Flags()
	f.StringVar(&overlap, "overlap", "allow", "when the run before has not ended: allow, skip, replace")
	f.BoolVar(&paused, "paused", false, "submit nothing until it is resumed")
	return cmd
}

func (c *cli) schedulePreview() *cobra.Command {
	var cron, zone string
	var count int
	cmd := &cobra.Command{
		Use:     "preview --cron CRON",
		Short:   "Print when a schedule would submit its next jobs, without making it",
		Example: "  orchion schedule preview --cron '30 3 * * 1-5' --time-zone Europe/Oslo -n 10",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cron == "" {
				return usagef("--cron is missing; write for example --cron '30 3 * * *'")
			}
			if count < 1 {
				return usagef("--count is %d; it must be 1 or more", count)
			}
			answer := &orchionv1.PreviewScheduleResponse{}
			query := url.Values{"cron": {cron}, "timeZone": {zone}, "count": {strconv.Itoa(count)}}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/schedules:preview", query, nil, answer); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), answer, func(w io.Writer) error {
				for _, run := range answer.GetRuns() {
					if _, err := fmt.Fprintln(w, clock(run)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	scheduleTimes(cmd, &cron, &zone)
	cmd.Flags().IntVarP(&count, "count", "n", 5, "how many, at most 100")
	return cmd
}

// scheduleTimes are the flags that say when.
func scheduleTimes(cmd *cobra.Command, cron, zone *string) {
	cmd.Flags().StringVar(cron, "cron", "", "when: five fields such as '30 3 * * 1-5', or @hourly, @daily, @weekly, @monthly, @yearly")
	cmd.Flags().StringVar(zone, "time-zone", "", "whose clock that is, such as Europe/Oslo (default: UTC)")
}

// showSchedule says what a schedule is now.
func (c *cli) showSchedule(cmd *cobra.Command, s *orchionv1.Schedule) error {
	return c.show(cmd.OutOrStdout(), s, func(w io.Writer) error {
		text := "runs next at " + clock(s.GetNextRunAt())
		if s.GetPaused() {
			text = "is paused"
		}
		_, err := fmt.Fprintf(w, "%s %s\n", printable(s.GetName()), text)
		return err
	})
}

func (c *cli) schedulePause(verb, short string, paused bool) *cobra.Command {
	return forEach(verb, short, func(cmd *cobra.Command, name string) error {
		s := &orchionv1.Schedule{}
		err := c.client().call(cmd.Context(), http.MethodPatch, "/api/schedules/"+segment(name), nil,
			&orchionv1.UpdateScheduleRequest{Paused: &paused}, s)
		if err != nil {
			return err
		}
		return c.showSchedule(cmd, s)
	})
}

func (c *cli) scheduleTrigger() *cobra.Command {
	return &cobra.Command{
		Use:   "trigger NAME",
		Short: "Submit a run of a schedule now, and print its job's id",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			j := &orchionv1.Job{}
			path := "/api/schedules/" + segment(args[0]) + ":trigger"
			if err := c.client().call(cmd.Context(), http.MethodPost, path, nil, &orchionv1.TriggerScheduleRequest{}, j); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), j, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, j.GetId())
				return err
			})
		},
	}
}
