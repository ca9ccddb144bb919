package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// testSubmitClaimed: a job that is submitted as a node's is what it would be had
// it been claimed after that.
func testSubmitClaimed(t *testing.T, im Implementation) {
	s := open(t, im)
	j := fullJob(1)
	want := j
	ok(t, want.Submit())
	ok(t, want.Claim("n1", epoch, "GPU-1", "GPU-2"))
	stored, created, err := s.SubmitClaimed(t.Context(), j, "n1", epoch, "GPU-1", "GPU-2")
	ok(t, err)
	if !created {
		t.Error("a new job was not created")
	}
	same(t, "stored", want, stored)
	same(t, "read", want, get(t, s, j.ID))
	for name, f := range map[string]store.JobFilter{
		"its node": {NodeID: "n1", Limit: 5}, "its label": {Labels: label.Selector{{Key: "team", Op: label.Equals, Value: "blue"}}, Limit: 5},
		"its state": {States: []job.State{job.Assigned}, Limit: 5}, "its queue": {Queue: "night.shift", Limit: 5},
	} {
		same(t, "listed by "+name, []string{j.ID}, ids(pages(t, s, f)))
	}
	_, err = s.ClaimJob(t.Context(), j.ID, "n2", epoch)
	wantFault(t, err, fault.Precondition, "job job-0001 is assigned; it cannot be given to a node")
	running := must(t)(s.StartAttempt(t.Context(), job.Ref{JobID: j.ID, Attempt: 1}, epoch))

	// What is refused changes nothing.
	again := newJob(2)
	again.IdempotencyKey = j.IdempotencyKey
	stored, created, err = s.SubmitClaimed(t.Context(), again, "n2", epoch)
	ok(t, err)
	if created {
		t.Error("a second job was created under one key")
	}
	same(t, "the job that holds the key, as it is now", running, stored)
	_, _, err = s.SubmitClaimed(t.Context(), newJob(1), "n2", epoch)
	wantFault(t, err, fault.AlreadyExists, "there is already a job job-0001")
	same(t, "after a second submission with its id", running, get(t, s, j.ID))
	_, _, err = s.SubmitClaimed(t.Context(), newJob(2), "", epoch)
	wantFault(t, err, fault.Invalid, "nodeId: is empty; a claim names the node")
	waits := newJob(2)
	waits.Spec.After = []job.Dependency{{ID: j.ID, On: job.OnEnd}}
	_, _, err = s.SubmitClaimed(t.Context(), waits, "n2", epoch)
	wantFault(t, err, fault.Precondition, "job job-0002 waits for other jobs; it cannot be given to a node")
	bad := newJob(2)
	bad.ID = "../etc"
	_, _, err = s.SubmitClaimed(t.Context(), bad, "n2", epoch)
	wantFault(t, err, fault.Invalid, `id: "../etc" is not 1 to 64 lower-case letters, digits, hyphens and underscores, beginning with a letter or digit`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, created, err = s.SubmitClaimed(ctx, newJob(2), "n2", epoch)
	wantFault(t, err, fault.Unavailable, "the request ended before it was carried out; nothing was changed")
	if created {
		t.Error("a job was created of which nobody hears")
	}
	_, err = s.GetJob(t.Context(), "job-0002")
	wantFault(t, err, fault.NotFound, `there is no job "job-0002"`)
}

// testRacingArrivals: of many that are submitted as nodes' under one key one is
// there, and is the node's that it was answered with.
func testRacingArrivals(t *testing.T, im Implementation) {
	s := open(t, im)
	var mu sync.Mutex // guards created and answered
	created, answered := 0, map[string]bool{}
	race(t, func(n int) error {
		j := newJob(n)
		j.IdempotencyKey = "one"
		stored, isNew, err := s.SubmitClaimed(t.Context(), j, fmt.Sprint("n", n), epoch)
		mu.Lock()
		defer mu.Unlock()
		if current, claimed := stored.Current(); claimed {
			answered[stored.ID+" on "+current.NodeID] = true
		}
		if isNew {
			created++
		}
		return err
	})
	if created != 1 || len(answered) != 1 {
		t.Errorf("%d jobs were created under one key and %v answered, want one", created, answered)
	}
}
