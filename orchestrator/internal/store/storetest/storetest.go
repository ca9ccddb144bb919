// Package storetest is the conformance suite of stores: what store.Store
// promises, as tests that every implementation runs.
package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// Implementation is how the suite makes stores.
type Implementation struct {
	// Open makes an empty store. The suite closes it.
	Open func(t *testing.T) store.Store
	// Reopen closes a store and opens it again on what it kept. Nil for a
	// store that does not outlive Close.
	Reopen func(t *testing.T, s store.Store) store.Store
}

// Run runs the suite.
func Run(t *testing.T, im Implementation) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, Implementation)
	}{
		{"submit", testSubmit},
		{"idempotency", testIdempotency},
		{"lifecycle", testLifecycle},
		{"submit claimed", testSubmitClaimed},
		{"refusals", testRefusals},
		{"cancel and retry", testCancelAndRetry},
		{"expire", testExpire},
		{"arrays", testArrays},
		{"outcome", testOutcome},
		{"waiting", testWaiting},
		{"history", testHistory},
		{"blobs", testBlobs},
		{"artifacts", testArtifacts},
		{"delete artifacts", testDeleteArtifacts},
		{"schedules", testSchedules},
		{"racing submits", testRacingSubmits},
		{"racing arrivals", testRacingArrivals},
		{"racing claims", testRacingClaims},
		{"racing completions", testRacingCompletions},
		{"list", testList},
		{"list filters", testListFilters},
		{"list while it grows", testListWhileItGrows},
		{"list refusals", testListRefusals},
		{"pending", testPending},
		{"count", testCount},
		{"nodes", testNodes},
		{"queues", testQueues},
		{"aliases", testAliases},
		{"deployments", testDeployments},
		{"usage", testUsage},
		{"fold usage", testFoldUsage},
		{"delete usage", testDeleteUsage},
		{"reopen", testReopen},
		{"context", testContext},
		{"close", testClose},
		{"model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, im) })
	}
}

// epoch is a time with nanoseconds: a store must not round.
var epoch = time.Date(2030, 1, 2, 3, 4, 5, 678_901_234, time.UTC)

// open makes a store that is closed with the test.
func open(t *testing.T, im Implementation) store.Store {
	t.Helper()
	s := im.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return s
}

// newJob is a job as the API hands it in, the n-th of its test.
func newJob(n int) job.Job {
	return job.Job{
		ID:        fmt.Sprintf("job-%04d", n),
		Name:      fmt.Sprintf("job number %d", n),
		CreatedAt: epoch.Add(time.Duration(n) * time.Millisecond),
		Spec:      job.Spec{Container: &job.Container{Image: "example.org/agent:1"}},
	}
}

// fullJob is a job that uses every field that can be handed in.
func fullJob(n int) job.Job {
	temperature := 0.5
	j := newJob(n)
	j.Labels = map[string]string{"team": "blue", "übung": "ja", "empty": ""}
	j.IdempotencyKey = fmt.Sprintf("key %d", n)
	j.Spec = job.Spec{
		Container: &job.Container{
			Image: "example.org/agent:1", Command: []string{"/agent"}, Args: []string{"-v", "a b"},
			Env: map[string]string{"A": "1", "B": "x\ny"}, PullPolicy: job.PullAlways, Models: []string{"qwen3:0.6b"},
			StopGrace: 20 * time.Second, WorkingDir: "/work", User: "1000:1000", ShmBytes: 1 << 20,
			Tmpfs:   []job.Tmpfs{{Path: "/tmp", SizeBytes: 1 << 20}},
			Volumes: []job.Volume{{Name: "cache", Path: "/cache", ReadOnly: true}},
			Files:   []job.File{{Path: "/work/a", Content: []byte("a\x00\xff"), Size: 3, Mode: 0o600}},
		},
		Chat: &job.Chat{
			Model: "qwen3:0.6b", Messages: []job.Message{{Role: "user", Content: "hi"}},
			MaxTokens: 7, Temperature: &temperature,
		},
		Resources:   job.Resources{CPUMillis: 500, MemoryBytes: 1 << 40, GPUs: 1, GPUMemoryBytes: 2 << 30, GPUVendor: "nvidia", DiskBytes: 3 << 30},
		Constraints: []string{"os=linux", "label.room in (office,lab)"},
		Queue:       "night.shift",
		Priority:    -7,
		Tolerations: []string{"gpu-only", "*"},
		Retry: job.Retry{
			MaxAttempts: 3, InitialBackoff: time.Second, MaxBackoff: time.Minute,
			RetryOn: []job.Failure{job.FailureExitCode, job.FailureTimeout}, NoRetryExitCodes: []int{2},
		},
		Timeout: 90 * time.Second, StartTimeout: 5 * time.Minute,
		StartAfter: epoch.Add(-time.Hour), QueueTimeout: time.Minute,
	}
	return j
}

// submit stores a job that must be new.
func submit(t *testing.T, s store.Store, j job.Job) job.Job {
	t.Helper()
	stored, created, err := s.SubmitJob(t.Context(), j)
	if err != nil || !created {
		t.Fatalf("submitting %s: created %v, %v", j.ID, created, err)
	}
	return stored
}

// get reads a job that must be there.
func get(t *testing.T, s store.Store, id string) job.Job {
	t.Helper()
	j, err := s.GetJob(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// must fails the test on an error; it takes a transition's answer whole.
func must(t *testing.T) func(j job.Job, err error) job.Job {
	t.Helper()
	return func(j job.Job, err error) job.Job {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
}

// ok fails the test on an error.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares two values; empty and missing lists and maps are the same.
func same[V any](t *testing.T, what string, want, got V) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantFault checks code and message of an error.
func wantFault(t *testing.T, err error, code fault.Code, message string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("got error %v, want a *fault.Error with %q", err, message)
	}
	if f.Code != code || f.Public() != message {
		t.Errorf("got code %d and message %q,\nwant code %d and message %q", f.Code, f.Public(), code, message)
	}
}

// ids are the ids of jobs in their order.
func ids(jobs []job.Job) []string {
	var list []string
	for _, j := range jobs {
		list = append(list, j.ID)
	}
	return list
}
