package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

// testModel makes the same random calls on the store and on the in-memory one
// and expects the same answers.
func testModel(t *testing.T, im Implementation) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		s, plain := im.Open(outer), memory.New()
		defer func() {
			if err := s.Close(); err != nil {
				t.Errorf("closing the store: %v", err)
			}
		}()
		ctx := outer.Context()
		now := epoch
		submitted := 0
		id := func() string { return fmt.Sprintf("job-%04d", rapid.IntRange(0, submitted).Draw(t, "job")) }
		ref := func() job.Ref { return job.Ref{JobID: id(), Attempt: rapid.IntRange(1, 3).Draw(t, "attempt")} }
		nodeID := rapid.SampledFrom([]string{"n1", "n2"})
		both := func(call func(store.Store) (job.Job, error)) {
			want, wantErr := call(plain)
			got, gotErr := call(s)
			agree(t, want, got, wantErr, gotErr)
		}
		gpus := rapid.SampledFrom([][]string{nil, {"GPU-1"}})
		next := func(t *rapid.T) job.Job {
			j := newJob(submitted)
			submitted++
			j.CreatedAt = epoch.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "created")))
			j.Labels = map[string]string{"a": rapid.SampledFrom([]string{"1", "2"}).Draw(t, "label")}
			j.Spec.Retry.MaxAttempts = rapid.IntRange(1, 3).Draw(t, "maxAttempts")
			j.Spec.QueueTimeout = time.Duration(rapid.IntRange(0, 2).Draw(t, "queueTimeout")) * time.Millisecond
			if rapid.IntRange(0, 3).Draw(t, "waits") == 0 {
				j.Spec.After = []job.Dependency{{ID: id()}} // which may be itself, or not be there
			}
			if rapid.Bool().Draw(t, "keyed") {
				j.IdempotencyKey = rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "key")
			}
			return j
		}
		t.Repeat(map[string]func(*rapid.T){
			"submit": func(t *rapid.T) {
				j := next(t)
				both(func(s store.Store) (job.Job, error) { j, _, err := s.SubmitJob(ctx, j); return j, err })
			},
			"submit claimed": func(t *rapid.T) {
				j, n, gpus := next(t), nodeID.Draw(t, "node"), gpus.Draw(t, "gpus")
				both(func(s store.Store) (job.Job, error) {
					j, _, err := s.SubmitClaimed(ctx, j, n, now, gpus...)
					return j, err
				})
			},
			"claim": func(t *rapid.T) {
				id, n, gpus := id(), nodeID.Draw(t, "node"), gpus.Draw(t, "gpus")
				both(func(s store.Store) (job.Job, error) { return s.ClaimJob(ctx, id, n, now, gpus...) })
			},
			"start": func(*rapid.T) {
				ref := ref()
				both(func(s store.Store) (job.Job, error) { return s.StartAttempt(ctx, ref, now) })
			},
			"complete": func(t *rapid.T) {
				ref, state := ref(), rapid.SampledFrom([]job.AttemptState{job.AttemptSucceeded, job.AttemptFailed, job.AttemptCancelled, job.AttemptLost}).Draw(t, "end")
				class := rapid.SampledFrom(job.Failures()).Draw(t, "class")
				end := job.End{State: state, At: now, Reason: "because", Failure: class}
				if rapid.Bool().Draw(t, "told of late") {
					end.StartedAt = now
				}
				both(func(s store.Store) (job.Job, error) { return s.CompleteAttempt(ctx, ref, end) })
			},
			"lose": func(*rapid.T) {
				ref := ref()
				both(func(s store.Store) (job.Job, error) { return s.LoseAttempt(ctx, ref, "lease", now) })
			},
			"evict": func(*rapid.T) {
				ref := ref()
				both(func(s store.Store) (job.Job, error) { return s.EvictAttempt(ctx, ref, "drained") })
			},
			"cancel": func(*rapid.T) {
				id := id()
				both(func(s store.Store) (job.Job, error) { return s.CancelJob(ctx, id, "why", now) })
			},
			"release": func(t *rapid.T) {
				id, unmet := id(), rapid.SampledFrom([]string{"", "because"}).Draw(t, "unmet")
				both(func(s store.Store) (job.Job, error) { return s.ReleaseJob(ctx, id, unmet, now) })
			},
			"outcome": func(*rapid.T) {
				id := id()
				want, wantErr := plain.Outcome(ctx, id)
				got, gotErr := s.Outcome(ctx, id)
				if agree(t, want, got, nil, nil); (wantErr == nil) != (gotErr == nil) {
					t.Fatalf("got error %v, want %v", gotErr, wantErr)
				}
			},
			"expire": func(*rapid.T) {
				id := id()
				both(func(s store.Store) (job.Job, error) { return s.ExpireJob(ctx, id, "full", now) })
			},
			"retry": func(*rapid.T) {
				id := id()
				both(func(s store.Store) (job.Job, error) { return s.RetryJob(ctx, id, now) })
			},
			"get": func(*rapid.T) {
				id := id()
				both(func(s store.Store) (job.Job, error) { return s.GetJob(ctx, id) })
			},
			"list": func(t *rapid.T) {
				f := store.JobFilter{
					Limit:  rapid.IntRange(1, 4).Draw(t, "limit"),
					States: rapid.SliceOfNDistinct(rapid.SampledFrom(job.States()), 0, 3, rapid.ID[job.State]).Draw(t, "states"),
					NodeID: rapid.SampledFrom([]string{"", "", "n1"}).Draw(t, "node"),
				}
				if rapid.Bool().Draw(t, "labelled") {
					f.Labels = label.Selector{{Key: "a", Op: rapid.SampledFrom([]label.Op{label.Exists, label.Equals, label.NotEquals}).Draw(t, "op"), Value: "1"}}
				}
				for range 2 {
					want, wantErr := plain.ListJobs(ctx, f)
					got, gotErr := s.ListJobs(ctx, f)
					agree(t, want, got, wantErr, gotErr)
					f.After = want.Next
				}
			},
			"": func(t *rapid.T) { now = now.Add(time.Millisecond) },
		})
		var want, got []job.Job
		wantErr := plain.PendingJobs(ctx, func(j job.Job) error { want = append(want, j); return nil })
		gotErr := s.PendingJobs(ctx, func(j job.Job) error { got = append(got, j); return nil })
		agree(t, want, got, wantErr, gotErr)
		wantCounts, wantErr := plain.CountJobs(ctx)
		gotCounts, gotErr := s.CountJobs(ctx)
		agree(t, wantCounts, gotCounts, wantErr, gotErr)
	})
}

// agree compares two answers, errors by code and message.
func agree[V any](t *rapid.T, want, got V, wantErr, gotErr error) {
	t.Helper()
	if fault.CodeOf(wantErr) != fault.CodeOf(gotErr) || fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
		t.Fatalf("got error %v, want %v", gotErr, wantErr)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); wantErr == nil && diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}
