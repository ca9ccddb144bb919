//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/enginestub"
	"github.com/orchion/orchion/shared/testbed/program"
)

const (
	// settleTime is how long everything may take to end once nothing is broken
	// any more.
	settleTime = 90 * time.Second
	// maxLogs is how many logs are read and compared.
	maxLogs = 300
)

// settle waits until every acknowledged job has ended and no container is left.
func settle(ctx context.Context, c *cluster, h *history, limit time.Duration) (map[string]*orchionv1.Job, error) {
	jobs := map[string]*orchionv1.Job{}
	err := program.Eventually(ctx, limit, "all jobs have ended", func() error {
		listed, err := listJobs(ctx, c)
		if err != nil {
			return err
		}
		jobs = listed
		for _, j := range listed {
			if !ended(j.GetState()) {
				return fmt.Errorf("job %s is %v: %s", j.GetId(), j.GetState(), j.GetReason())
			}
		}
		return nil
	})
	if err != nil {
		h.violate(lostJob, "%v", err)
	}
	err = program.Eventually(ctx, limit, "the containers are removed", func() error {
		for _, m := range c.machines {
			if left := m.engine.Left(); len(left) > 0 {
				return fmt.Errorf("%d are left on %s, such as %v", len(left), m.id, left[0])
			}
		}
		return nil
	})
	if err != nil {
		h.violate(leftContainers, "%v", err)
	}
	return jobs, ctx.Err()
}

func listJobs(ctx context.Context, c *cluster) (map[string]*orchionv1.Job, error) {
	jobs := map[string]*orchionv1.Job{}
	for token := ""; ; {
		page := &orchionv1.ListJobsResponse{}
		query := url.Values{"pageSize": {"1000"}, "pageToken": {token}}
		if err := c.call(ctx, http.MethodGet, "/api/jobs?"+query.Encode(), nil, page); err != nil {
			return nil, err
		}
		for _, j := range page.GetJobs() {
			jobs[j.GetId()] = j
		}
		if token = page.GetNextPageToken(); token == "" {
			return jobs, nil
		}
	}
}

// check holds what has become of the jobs against what was seen on the way and
// against what the engines ran.
func check(ctx context.Context, c *cluster, h *history, jobs map[string]*orchionv1.Job) {
	for _, j := range jobs {
		h.observe(j)
	}
	keys := map[string]string{}
	for id, j := range jobs {
		if other, twice := keys[j.GetIdempotencyKey()]; twice {
			h.violate(secondEnd, "jobs %s and %s have the key %s", id, other, j.GetIdempotencyKey())
		}
		keys[j.GetIdempotencyKey()] = id
	}
	acked := h.acknowledged()
	runs := c.runs(h)
	logs := 0
	for _, id := range slices.Sorted(maps.Keys(acked)) {
		s, j := acked[id], jobs[id]
		if j == nil {
			h.violate(lostJob, "%v was acknowledged and is gone", s)
			continue
		}
		checkAttempts(h, j, runs)
		checkEnd(h, s, j)
		if j.GetState() == orchionv1.JobState_JOB_STATE_SUCCEEDED && logs < maxLogs {
			logs++
			checkLog(ctx, c, h, s, j)
		}
	}
}

// runs are all starts by attempt; each must be of an attempt that was started
// once.
func (c *cluster) runs(h *history) map[string]enginestub.Run {
	runs := map[string]enginestub.Run{}
	for _, m := range c.machines {
		if n := m.engine.Shared(); n > 0 {
			h.violate(sharedNetwork, "on %s %d containers were to join one that was another's, or nobody's", m.id, n)
		}
		for _, r := range m.engine.Runs() {
			name := attemptName(r.Labels["orchion.job"], r.Labels["orchion.attempt"])
			if earlier, twice := runs[name]; twice {
				h.violate(twoLeases, "attempt %s was started on %s and on %s", name, earlier.Labels["orchion.node"], r.Labels["orchion.node"])
			}
			runs[name] = r
		}
	}
	return runs
}

func checkAttempts(h *history, j *orchionv1.Job, runs map[string]enginestub.Run) {
	id := j.GetId()
	for i, a := range j.GetAttempts() {
		name := attemptName(id, fmt.Sprint(a.GetNumber()))
		if int(a.GetNumber()) != i+1 {
			h.violate(twoLeases, "attempt %d of job %s has the number %d", i+1, id, a.GetNumber())
		}
		if !attemptEnded(a.GetState()) {
			h.violate(lostJob, "attempt %s is %v, and the job %v", name, a.GetState(), j.GetState())
		}
		run, ran := runs[name]
		if ran && run.Labels["orchion.node"] != a.GetNodeId() {
			h.violate(twoLeases, "attempt %s is on %s and ran on %s", name, a.GetNodeId(), run.Labels["orchion.node"])
		}
		if a.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED {
			continue
		}
		if i != len(j.GetAttempts())-1 || j.GetState() != orchionv1.JobState_JOB_STATE_SUCCEEDED {
			h.violate(secondEnd, "attempt %s succeeded, and job %s is %v with %d attempts", name, id, j.GetState(), len(j.GetAttempts()))
		}
		if !ran || run.EndedAt.IsZero() || run.ExitCode != 0 || run.Killed {
			h.violate(wrongEnd, "attempt %s succeeded, and its container ended with %d (ran: %v, killed: %v)", name, run.ExitCode, ran, run.Killed)
		}
		// All clocks here are one.
		if ran && a.GetFinishedAt().AsTime().Before(run.EndedAt) {
			h.violate(wrongEnd, "attempt %s succeeded at %v, before its container ended at %v", name, a.GetFinishedAt().AsTime(), run.EndedAt)
		}
	}
}

// checkEnd says whether a job may have ended as it has.
func checkEnd(h *history, s *submission, j *orchionv1.Job) {
	hurt, lost := false, 0
	for _, a := range j.GetAttempts() {
		hurt = hurt || h.wasHurt(s.id, a.GetNumber())
		if a.GetState() == orchionv1.AttemptState_ATTEMPT_STATE_LOST {
			lost++
		}
	}
	switch j.GetState() {
	case orchionv1.JobState_JOB_STATE_SUCCEEDED:
		if s.code != 0 {
			h.violate(wrongEnd, "%v succeeded, and its program ends with %d", s, s.code)
		}
	case orchionv1.JobState_JOB_STATE_FAILED:
		// An attempt may also end in failure because its engine was away too
		// long; the reason says so then.
		engine := strings.Contains(j.GetReason(), "docker:")
		if s.code == 0 && !hurt && !engine && lost < 10 {
			h.violate(wrongEnd, "%v failed (%s), and nothing was done to it; attempts %v", s, j.GetReason(), j.GetAttempts())
		}
	case orchionv1.JobState_JOB_STATE_CANCELLED:
		if !s.cancelled {
			h.violate(wrongEnd, "%v is cancelled (%s), and nobody asked for it; attempts %v", s, j.GetReason(), j.GetAttempts())
		}
	default:
		h.violate(lostJob, "%v is %v: %s", s, j.GetState(), j.GetReason())
	}
}

// checkLog reads the log of the attempt that succeeded.
func checkLog(ctx context.Context, c *cluster, h *history, s *submission, j *orchionv1.Job) {
	text, err := c.log(ctx, s.id, len(j.GetAttempts()))
	if err != nil {
		h.violate(brokenLog, "%v: %v", s, err)
		return
	}
	var want strings.Builder
	for i := range s.lines {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	if text != want.String() {
		h.violate(brokenLog, "the log of attempt %d of %v has %d lines, want %d: %.200q", len(j.GetAttempts()), s, strings.Count(text, "\n"), s.lines, text)
	}
}
