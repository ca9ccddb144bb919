package e2e

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// Each class of failure as a real engine brings it about, and what follows.
func TestFailureClasses(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("failures", e)
		for _, tt := range []struct {
			name   string
			args   []string
			change func(*orchionv1.JobSpec)
			class  orchionv1.FailureClass
			again  bool // tries are left, and used
			reason string
		}{
			{"exit code", []string{"exit", "3"}, func(*orchionv1.JobSpec) {}, orchionv1.FailureClass_FAILURE_CLASS_EXIT_CODE, true, "exit code 3"},
			{"final exit code", []string{"exit", "3"}, func(s *orchionv1.JobSpec) { s.Retry.NoRetryExitCodes = []int32{3} },
				orchionv1.FailureClass_FAILURE_CLASS_EXIT_CODE, false, "not tried again: exit code 3 is among retry.noRetryExitCodes"},
			{"out of memory", []string{"alloc", "268435456"}, func(s *orchionv1.JobSpec) { s.Resources = &orchionv1.Resources{MemoryBytes: 32 << 20} },
				orchionv1.FailureClass_FAILURE_CLASS_OUT_OF_MEMORY, true, "more memory than its limit"},
			{"timeout", []string{"hold", "hold"}, func(s *orchionv1.JobSpec) { s.Timeout = durationpb.New(1e9) },
				orchionv1.FailureClass_FAILURE_CLASS_TIMEOUT, true, "timed out after 1s"},
			{"image", nil, func(s *orchionv1.JobSpec) { s.GetContainer().Image = "docker.io/orchion/no-such-image:e2e" },
				orchionv1.FailureClass_FAILURE_CLASS_IMAGE, false, "not tried again: the image has to be put right first"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				id := c.submit(tt.args, func(r *orchionv1.SubmitJobRequest) {
					r.Spec.Retry = &orchionv1.RetryPolicy{MaxAttempts: 2, InitialBackoff: durationpb.New(1e8)}
					tt.change(r.Spec)
				})
				job := c.waitJob(id, failed)
				want := 1
				if tt.again {
					want = 2
				}
				if got := job.GetAttempts(); len(got) != want || got[0].GetFailure() != tt.class || !strings.Contains(job.GetReason(), tt.reason) {
					t.Errorf("failed with %q after %v; want %v, %d attempts and %q", job.GetReason(), got, tt.class, want, tt.reason)
				}
			})
		}
		t.Run("registry out of reach", func(t *testing.T) {
			id := c.submit(nil, func(r *orchionv1.SubmitJobRequest) {
				r.Spec.GetContainer().Image = "127.0.0.1:9/nothing/listens:1" // the discard port
				r.Spec.GetContainer().PullPolicy = orchionv1.PullPolicy_PULL_POLICY_IF_NOT_PRESENT
			})
			c.eventually("it waits for another try", func() error {
				job := c.job(id)
				attempts := job.GetAttempts()
				if len(attempts) == 0 || attempts[0].GetFailure() != orchionv1.FailureClass_FAILURE_CLASS_IMAGE_UNAVAILABLE ||
					job.GetResult() != nil {
					return fmt.Errorf("it is %v (%s) after %v", job.GetState(), job.GetReason(), attempts)
				}
				return nil
			})
			c.cancel(id)
			c.waitJob(id, cancelled)
		})
	})
}
