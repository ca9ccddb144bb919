package worker

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/policy"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// fixedPolicy is a policy that does not change.
type fixedPolicy struct{ allowed *policy.Policy }

func (p fixedPolicy) Current() *policy.Policy { return p.allowed }

// The orchestrator's word that a process may run is not enough.
func TestPolicyIsKept(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	allowed, err := policy.Parse([]byte("processes: [{name: sh, path: /bin/sh, args: ['-c']}, {name: gone, path: " + missing + "}]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		job     string
		spec    *orchionv1.ProcessSpec
		class   orchionv1.FailureClass
		reasons string
	}{
		{"other", &orchionv1.ProcessSpec{Command: "bash"}, orchionv1.FailureClass_FAILURE_CLASS_NODE, `this node's policy does not allow "bash"; it allows sh, gone`},
		{"args", &orchionv1.ProcessSpec{Command: "sh", Args: []string{"-x"}}, orchionv1.FailureClass_FAILURE_CLASS_INVALID, "nothing in processes[0].args matches it"},
		{"env", &orchionv1.ProcessSpec{Command: "sh", Env: map[string]string{"A": "b"}}, orchionv1.FailureClass_FAILURE_CLASS_INVALID, "does not allow the variable A for sh"},
		{"dir", &orchionv1.ProcessSpec{Command: "sh", WorkingDir: "/"}, orchionv1.FailureClass_FAILURE_CLASS_INVALID, "does not allow sh to begin in /"},
		{"gone", &orchionv1.ProcessSpec{Command: "gone"}, orchionv1.FailureClass_FAILURE_CLASS_NODE, "which this node's policy allows, is not there"},
		{"models", &orchionv1.ProcessSpec{Command: "sh", Models: []string{"m"}}, orchionv1.FailureClass_FAILURE_CLASS_NODE, "this node cannot connect jobs with models"},
	} {
		t.Run(tt.job, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, func(c *Config) { c.Processes, c.Policy = c.Driver, fixedPolicy{allowed} })
				defer b.close()
				b.assign(&orchionv1.JobAssignment{
					Ref: ref(tt.job), LeaseTtl: durationpb.New(ttl),
					Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Process{Process: tt.spec}},
				})
				last := b.far.last(tt.job)
				if last.GetFailure() != tt.class || !strings.Contains(last.GetReason(), tt.reasons) {
					t.Errorf("it ended with %v", last)
				}
			})
		})
	}
}

// After a change of the node's id, its own folder may hold processes that nobody else ends.
func TestProcessesOfAnEarlierNodeAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		begin := func(node string) string {
			id, err := b.engine.Create(t.Context(), driver.ContainerSpec{
				Image: "work:1", Args: []string{"600", "0"},
				Labels: map[string]string{labelNode: node, labelRole: roleJob, labelJob: "job-of-" + node, labelAttempt: "1"},
			})
			if err == nil {
				err = b.engine.Start(t.Context(), id)
			}
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		ours, earlier := begin("node-1"), begin("node-0")
		b.restart()
		synctest.Wait()
		if _, err := b.engine.Inspect(t.Context(), earlier); err != nil {
			t.Errorf("on an engine that agents share: %v", err)
		}
		b.cfg.Driver, b.cfg.Processes = nil, b.engine
		b.restart()
		synctest.Wait()
		if _, err := b.engine.Inspect(t.Context(), earlier); driver.CodeOf(err) != driver.CodeNotFound {
			t.Errorf("in the folder of this agent: %v", err)
		}
		if _, err := b.engine.Inspect(t.Context(), ours); err != nil {
			t.Errorf("this node's own: %v", err)
		}
	})
}

// A file system that does not answer holds up no attempt for ever, nor any number of threads.
func TestFilesThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{NodeID: "node-1", Logger: slog.New(slog.DiscardHandler)})
		defer w.Stop()
		answer := make(chan struct{})
		var asked atomic.Int32
		for range maxAsking + 2 {
			began := time.Now()
			err := w.look(t.Context(), func() error { asked.Add(1); <-answer; return nil })
			if err == nil || !strings.Contains(err.Error(), "do not answer for 30s") || time.Since(began) != askPatience {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		}
		if n := asked.Load(); n != maxAsking {
			t.Errorf("it was asked %d times, want %d", n, maxAsking)
		}
		close(answer)
		if err := w.look(t.Context(), func() error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
