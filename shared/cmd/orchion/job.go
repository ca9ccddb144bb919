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

	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) jobCommand() *cobra.Command {
	return group("job", "Submit jobs and follow them", []string{"jobs"},
		c.jobSubmit(), c.jobRun(), c.jobList(), c.jobShow(), c.jobLogs(), c.jobArtifacts(), c.jobDownload(),
		c.jobChange("cancel", "Cancel jobs, or all jobs of an array", &orchionv1.CancelJobRequest{}),
		c.jobChange("retry", "Queue failed or cancelled jobs again", &orchionv1.RetryJobRequest{}),
		c.jobExplain(), c.jobTop())
}

func (c *cli) jobList() *cobra.Command {
	var states []string
	var node, label, array, queue, name string
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List jobs, newest first",
		Example: "  orchion job ls --state running,queued\n  orchion job ls --node attic -n 0\n  orchion job ls --name nightly --queue night",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit is %d; it must be 0 (all) or more", limit)
			}
			query := url.Values{}
			if len(states) > 0 {
				var names []string
				for _, state := range states {
					name := "JOB_STATE_" + strings.ToUpper(state)
					if orchionv1.JobState_value[name] == 0 {
						return usagef("--state is %q; it must be queued, assigned, running, succeeded, failed or cancelled", state)
					}
					names = append(names, name)
				}
				query.Set("state", strings.Join(names, ","))
			}
			for parameter, value := range map[string]string{"nodeId": node, "label": label, "arrayId": array, "queue": queue, "name": name} {
				if value != "" {
					query.Set(parameter, value)
				}
			}
			list := &orchionv1.ListJobsResponse{}
			err := c.pages(query, func() (string, error) {
				if limit > 0 {
					query.Set("pageSize", strconv.Itoa(min(limit-len(list.GetJobs()), 1000)))
				}
				page := &orchionv1.ListJobsResponse{}
				err := c.client().call(cmd.Context(), http.MethodGet, "/api/jobs", query, nil, page)
				list.Jobs = append(list.Jobs, page.GetJobs()...)
				if limit > 0 && len(list.GetJobs()) >= limit {
					return "", err
				}
				return page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				if len(list.GetJobs()) == 0 {
					_, err := fmt.Fprintln(w, "No jobs. Submit one: orchion job submit --image docker.io/library/busybox -- echo hello")
					return err
				}
				rows := [][]string{{"ID", "NAME", "STATE", "NODE", "ATTEMPT", "AGE", "TOOK", "REASON"}}
				for _, j := range list.GetJobs() {
					rows = append(rows, jobRow(j))
				}
				return table(w, rows...)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only jobs in these states")
	cmd.Flags().StringVar(&node, "node", "", "only jobs whose newest attempt is on this node")
	cmd.Flags().StringVarP(&label, "label", "l", "", "only jobs with these labels: key=value, key!=value or key")
	cmd.Flags().StringVar(&array, "array", "", "only the jobs of this array")
	cmd.Flags().StringVar(&queue, "queue", "", "only jobs of this queue")
	cmd.Flags().StringVar(&name, "name", "", "only jobs of exactly this name")
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "how many at the most; 0: all")
	return cmd
}

func jobRow(j *orchionv1.Job) []string {
	node, attempt := "-", "-"
	if n := len(j.GetAttempts()); n > 0 {
		node, attempt = j.GetAttempts()[n-1].GetNodeId(), strconv.Itoa(n)
	}
	return []string{j.GetId(), j.GetName(), jobState(j), node, attempt, age(j.GetCreatedAt()), took(j), orDash(j.GetReason())}
}

// failurePrefix begins the names of the classes of failures on the wire.
const failurePrefix = "FAILURE_CLASS_"

// failureText names a class of failures; a dash when there is none.
func failureText(f orchionv1.FailureClass) string {
	if f == orchionv1.FailureClass_FAILURE_CLASS_UNSPECIFIED {
		return "-"
	}
	return strings.ReplaceAll(enumText(f.String(), failurePrefix), "_", "-")
}

func jobState(j *orchionv1.Job) string { return enumText(j.GetState().String(), "JOB_STATE_") }

func took(j *orchionv1.Job) string {
	switch {
	case j.GetStartedAt() == nil:
		return "-"
	case j.GetFinishedAt() == nil:
		return age(j.GetStartedAt())
	default:
		return short(j.GetFinishedAt().AsTime().Sub(j.GetStartedAt().AsTime()))
	}
}

func (c *cli) jobShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "Show one job with its attempts",
		Args:              exactly("ID"),
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			j := &orchionv1.Job{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/jobs/"+segment(args[0]), nil, nil, j); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), j, func(w io.Writer) error { return jobFacts(w, j) })
		},
	}
}

func jobFacts(w io.Writer, j *orchionv1.Job) error {
	facts := [][]string{
		{"id", j.GetId()},
		{"name", j.GetName()},
		{"state", jobState(j)},
		{"reason", orDash(j.GetReason())},
		{"queue", j.GetSpec().GetQueue()},
	}
	if j.GetArrayId() != "" {
		facts = append(facts, []string{"array", fmt.Sprintf("%s, job %d of %d", j.GetArrayId(), j.GetArrayIndex(), j.GetArrayCount())})
	}
	for _, d := range j.GetSpec().GetAfter() {
		facts = append(facts, []string{"after", d.GetJobId() + ", " + enumText(d.GetOn().String(), "JOB_CONDITION_")})
	}
	if container := j.GetSpec().GetContainer(); container != nil {
		facts = append(facts, containerFacts(container)...)
	}
	if process := j.GetSpec().GetProcess(); process != nil {
		facts = append(facts, processFacts(process)...)
	}
	if chat := j.GetSpec().GetChat(); chat != nil {
		facts = append(facts, []string{"model", chat.GetModel()})
	}
	facts = append(append(facts, placingFacts(j.GetSpec())...), limitFacts(j.GetSpec())...)
	if result := j.GetResult(); result != nil {
		if result.ExitCode != nil {
			facts = append(facts, []string{"exit code", strconv.Itoa(int(result.GetExitCode()))})
		}
		facts = append(facts, []string{"output", orDash(strings.TrimSpace(result.GetOutput()))})
		if result.GetError() != "" {
			facts = append(facts, []string{"error", result.GetError()})
		}
	}
	facts = append(facts, []string{"created", age(j.GetCreatedAt()) + " ago"}, []string{"took", took(j)})
	if err := table(w, facts...); err != nil {
		return err
	}
	if len(j.GetAttempts()) == 0 {
		return nil
	}
	head := []string{"ATTEMPT", "NODE", "STATE", "EXIT", "FAILURE", "STARTED"}
	gpus := slices.ContainsFunc(j.GetAttempts(), func(a *orchionv1.Attempt) bool { return len(a.GetGpus()) > 0 })
	if gpus {
		head = append(head, "GPUS")
	}
	rows := [][]string{append(head, "REASON")}
	for _, a := range j.GetAttempts() {
		exit := "-"
		if a.ExitCode != nil {
			exit = strconv.Itoa(int(a.GetExitCode()))
		}
		row := []string{
			strconv.Itoa(int(a.GetNumber())), a.GetNodeId(), enumText(a.GetState().String(), "ATTEMPT_STATE_"),
			exit, failureText(a.GetFailure()), age(a.GetStartedAt()),
		}
		if gpus {
			row = append(row, orDash(strings.Join(a.GetGpus(), ",")))
		}
		rows = append(rows, append(row, orDash(a.GetReason())))
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, rows...)
}

func (c *cli) jobLogs() *cobra.Command {
	var options logOptions
	var since string
	cmd := &cobra.Command{
		Use:               "logs ID",
		Short:             "Print the log of a job; its stderr goes to stderr",
		Example:           "  orchion job logs -f ID\n  orchion job logs --attempt 1 --tail 100 --timestamps ID\n  orchion job logs --since 10m --grep error ID",
		Args:              exactly("ID"),
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if options.attempt < 0 || options.tail < 0 {
				return usagef("--attempt and --tail must be 0 or more")
			}
			if since != "" {
				at, err := parseSince(since, time.Now())
				if err != nil {
					return err
				}
				options.since = at
			}
			return c.copyLogs(cmd.Context(), args[0], options, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVarP(&options.follow, "follow", "f", false, "go on until the job has ended")
	cmd.Flags().IntVar(&options.attempt, "attempt", 0, "only this attempt; 0: all")
	cmd.Flags().IntVar(&options.tail, "tail", 0, "only the last so many lines; 0: all")
	cmd.Flags().StringVar(&since, "since", "", "only lines of this time and later: a period such as 10m, or 2006-01-02T15:04:05Z")
	cmd.Flags().StringVar(&options.grep, "grep", "", "only lines that hold this text")
	cmd.Flags().BoolVarP(&options.timestamps, "timestamps", "t", false, "put the time before each line")
	return cmd
}

func (c *cli) jobChange(verb, short string, body proto.Message) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " ID...",
		Short:             short,
		Args:              atLeastOne("ID"),
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(args, func(id string) error {
				if verb == "cancel" && strings.HasPrefix(id, arrayPrefix) {
					return c.cancelArray(cmd, id)
				}
				j := &orchionv1.Job{}
				if err := c.client().call(cmd.Context(), http.MethodPost, "/api/jobs/"+segment(id)+":"+verb, nil, body, j); err != nil {
					return err
				}
				return c.show(cmd.OutOrStdout(), j, func(w io.Writer) error {
					text := j.GetId() + " is " + jobState(j)
					if j.GetReason() != "" {
						text += ": " + printable(j.GetReason())
					}
					_, err := fmt.Fprintln(w, text)
					return err
				})
			})
		},
	}
}

// arrayPrefix begins the ids of arrays.
const arrayPrefix = "array-"

func (c *cli) cancelArray(cmd *cobra.Command, id string) error {
	answer := &orchionv1.CancelArrayResponse{}
	path := "/api/arrays/" + segment(id) + ":cancel"
	if err := c.client().call(cmd.Context(), http.MethodPost, path, nil, &orchionv1.CancelArrayRequest{}, answer); err != nil {
		return err
	}
	return c.show(cmd.OutOrStdout(), answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %d jobs are cancelled, %d more are being stopped\n",
			printable(answer.GetArrayId()), answer.GetCancelled(), answer.GetStopping())
		return err
	})
}

func (c *cli) jobExplain() *cobra.Command {
	return &cobra.Command{
		Use:               "explain ID",
		Short:             "Say for every machine whether a job fits there and why, and what makes one better than another",
		Args:              exactly("ID"),
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer := &orchionv1.ExplainJobResponse{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/jobs/"+segment(args[0])+"/explain", nil, nil, answer); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), answer, func(w io.Writer) error {
				if answer.GetSummary() != "" {
					if _, err := fmt.Fprintln(w, printable(answer.GetSummary())); err != nil {
						return err
					}
				}
				rows := [][]string{{"NODE", "HOSTNAME", "FITS", "SCORE", "WHY"}}
				for _, n := range answer.GetNodes() {
					fits := "no"
					if n.GetFits() {
						fits = "yes"
					}
					rows = append(rows, []string{n.GetNodeId(), n.GetHostname(), fits, strconv.FormatFloat(n.GetScore(), 'f', 1, 64), whyText(n)})
				}
				return table(w, rows...)
			})
		},
	}
}

func (c *cli) completeJobs(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := &orchionv1.ListJobsResponse{}
	if err := c.client().call(cmd.Context(), http.MethodGet, "/api/jobs", url.Values{"pageSize": {"100"}}, nil, list); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, j := range list.GetJobs() {
		ids = append(ids, cobra.CompletionWithDesc(j.GetId(), j.GetName()+", "+jobState(j)))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// terminal says whether a job has ended.
func terminal(s orchionv1.JobState) bool {
	switch s {
	case orchionv1.JobState_JOB_STATE_SUCCEEDED, orchionv1.JobState_JOB_STATE_FAILED, orchionv1.JobState_JOB_STATE_CANCELLED:
		return true
	}
	return false
}

// pollInterval is how often a state is asked for while a person waits.
const pollInterval = 300 * time.Millisecond
