package worker

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/durationpb"

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
