package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

const (
	running   = orchionv1.JobState_JOB_STATE_RUNNING
	succeeded = orchionv1.JobState_JOB_STATE_SUCCEEDED
	failed    = orchionv1.JobState_JOB_STATE_FAILED
	cancelled = orchionv1.JobState_JOB_STATE_CANCELLED
)

// wantLines checks that a log holds lines 1 to n of testjob, each once and in
// order, and each tenth on stderr as well.
func wantLines(t *testing.T, log string, n int) {
	t.Helper()
	next, tenth := 1, 1
	for line := range strings.Lines(log) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == fmt.Sprintf("line %d", next):
			next++
		case line == fmt.Sprintf("tenth %d", tenth):
			tenth++
		default:
			t.Fatalf("unexpected %q where line %d or tenth %d should be; the log is\n%s", line, next, tenth, log)
		}
	}
	if next != n+1 || tenth != n/10+1 {
		t.Fatalf("the log has %d lines and %d tenths, want %d and %d", next-1, tenth-1, n, n/10)
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("jobs", e)

		t.Run("succeeds", func(t *testing.T) {
			id := c.submit([]string{"lines", "30", "1ms", "env", "ORCHION_ATTEMPT", "env", "ORCHION_NODE_ID"})
			job := c.waitJob(id, succeeded)
			if code := job.GetResult().GetExitCode(); code != 0 || job.GetResult().ExitCode == nil {
				t.Errorf("exit code %v", job.GetResult().ExitCode)
			}
			if len(job.GetAttempts()) != 1 || job.GetAttempts()[0].GetNodeId() != a.id {
				t.Errorf("attempts %v, want one on %s", job.GetAttempts(), a.id)
			}
			log := c.logText(id)
			want := "ORCHION_ATTEMPT=1\nORCHION_NODE_ID=" + a.id + "\n"
			// Where lines of stderr stand among those of stdout is the engine's word.
			var lines strings.Builder
			for line := range strings.Lines(log) {
				if !strings.Contains(want, line) {
					lines.WriteString(line)
				}
			}
			if len(log)-lines.Len() != len(want) {
				t.Fatalf("the log is %q, want %q in it", log, want)
			}
			wantLines(t, lines.String(), 30)
			if output := job.GetResult().GetOutput() + "\n"; !strings.HasSuffix(output, want) || strings.Contains(output, "tenth") {
				t.Errorf("the output is %q, want the end of stdout", output)
			}
		})
		t.Run("fails with its exit code", func(t *testing.T) {
			job := c.waitJob(c.submit([]string{"lines", "1", "0s", "exit", "7"}), failed)
			if job.GetResult().GetExitCode() != 7 {
				t.Errorf("exit code %v, want 7", job.GetResult().ExitCode)
			}
		})
		t.Run("retries", func(t *testing.T) {
			id := c.submit([]string{"exit", "7"}, func(r *orchionv1.SubmitJobRequest) {
				r.Spec.Retry = &orchionv1.RetryPolicy{MaxAttempts: 2}
			})
			if job := c.waitJob(id, failed); len(job.GetAttempts()) != 2 {
				t.Errorf("%d attempts, want 2", len(job.GetAttempts()))
			}
		})
		t.Run("is cancelled", func(t *testing.T) {
			id := c.submit([]string{"hold"})
			c.waitJob(id, running)
			c.waitLog(id, "holding")
			for range 2 { // idempotent
				if err := c.call(http.MethodPost, "/api/jobs/"+id+":cancel", &orchionv1.CancelJobRequest{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			c.waitJob(id, cancelled)
			c.waitLog(id, "told to stop")
		})
		t.Run("times out", func(t *testing.T) {
			out := c.cli("job", "submit", "--image", jobImage, "--pull", "never", "--timeout", "1s", "--", "hold")
			job := c.waitJob(strings.TrimSpace(out), failed)
			if !strings.Contains(job.GetReason(), "timed out") {
				t.Errorf("the reason is %q", job.GetReason())
			}
		})
		t.Run("names an image that is not there", func(t *testing.T) {
			id := c.submit(nil, func(r *orchionv1.SubmitJobRequest) {
				r.Spec.GetContainer().Image = "docker.io/orchion/no-such-image:e2e"
			})
			job := c.waitJob(id, failed)
			if !strings.Contains(job.GetReason(), "no-such-image") {
				t.Errorf("the reason is %q, want the image in it", job.GetReason())
			}
		})
		t.Run("waits with a reason", func(t *testing.T) {
			id := c.submit([]string{"exit", "0"}, func(r *orchionv1.SubmitJobRequest) {
				r.Spec.Constraints = []string{"label.room=attic"}
			})
			explained := &orchionv1.ExplainJobResponse{}
			c.eventually("it is explained", func() error {
				if err := c.get("/api/jobs/"+id+"/explain", explained); err != nil {
					return err
				}
				if explained.GetSummary() == "" || len(explained.GetNodes()) != 1 || len(explained.GetNodes()[0].GetReasons()) == 0 {
					return fmt.Errorf("the explanation is %v", explained)
				}
				return nil
			})
			// The label arrives, the job runs.
			c.cli("node", "label", a.id, "room=attic")
			c.waitJob(id, succeeded)
		})
		t.Run("is submitted once for one key", func(t *testing.T) {
			key := func(r *orchionv1.SubmitJobRequest) { r.IdempotencyKey = "once-" + t.Name() }
			first, second := c.submit([]string{"exit", "0"}, key), c.submit([]string{"exit", "0"}, key)
			if first != second {
				t.Errorf("two jobs, %s and %s", first, second)
			}
		})
		t.Run("reaches no engine and no orchestrator from inside", func(t *testing.T) {
			id := c.submit([]string{"connect", c.grpc, "connect", strings.TrimPrefix(c.url, "http://")})
			c.waitJob(id, succeeded)
			if log := c.logText(id); strings.Contains(log, "open") {
				t.Errorf("the job reached the host's loopback:\n%s", log)
			}
		})
	})
}

func TestCLIFollowsAJob(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("cli", e)
		out := c.cli("job", "submit", "--follow", "--image", jobImage, "--pull", "never", "--", "lines", "20", "5ms")
		var want strings.Builder
		for i := 1; i <= 20; i++ {
			fmt.Fprintf(&want, "line %d\n", i)
		}
		if out != want.String() {
			t.Errorf("stdout is\n%s", out)
		}
	})
}
