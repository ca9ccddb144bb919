package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// cancel asks for a job's end.
func (c *cluster) cancel(id string) {
	c.t.Helper()
	if err := c.call(http.MethodPost, "/api/jobs/"+id+":cancel", &orchionv1.CancelJobRequest{}, nil); err != nil {
		c.t.Fatal(err)
	}
}

func TestCancelReachesTheContainer(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("cancel", e)
		t.Run("within a second", func(t *testing.T) {
			best := time.Hour
			for range 3 { // the machine may be busy with something else
				id := c.submit([]string{"hold"})
				c.waitLog(id, "holding")
				began := time.Now()
				c.cancel(id)
				c.waitLog(id, "told to stop")
				best = min(best, time.Since(began))
				c.waitJob(id, cancelled)
			}
			t.Logf("from the request to what the container says of it in the log: %s", best.Round(time.Millisecond))
			if best > time.Second {
				t.Errorf("took %s", best)
			}
		})
		t.Run("although it does not listen", func(t *testing.T) {
			const grace = 2 * time.Second
			id := c.submit([]string{"stubborn"}, func(r *orchionv1.SubmitJobRequest) {
				r.Spec.GetContainer().StopGrace = durationpb.New(grace)
			})
			c.waitLog(id, "stubborn")
			began := time.Now()
			c.cancel(id)
			job := c.waitJob(id, cancelled)
			took := time.Since(began)
			t.Logf("ended %s after the request, with a grace of %s", took.Round(time.Millisecond), grace)
			if took < grace || took > grace+10*time.Second || job.GetResult().GetExitCode() != 137 {
				t.Errorf("ended after %s with %v, want code 137 after %s", took, job.GetResult(), grace)
			}
		})
		t.Run("and leaves nothing of what was only begun", func(t *testing.T) {
			for range 5 {
				id := c.submit([]string{"hold"})
				c.eventually("the node has it", func() error {
					if state := c.job(id).GetState(); state == orchionv1.JobState_JOB_STATE_QUEUED {
						return fmt.Errorf("it is %v", state)
					}
					return nil
				})
				c.cancel(id)
				c.waitJob(id, cancelled)
			}
			c.eventually("no container is left", func() error {
				states, err := e.ContainerStates(t.Context(), "orchion.node="+a.id)
				if err == nil && len(states) > 0 {
					err = fmt.Errorf("containers are %v", states)
				}
				return err
			})
		})
	})
}

// startCLI begins a command of the command line.
func (c *cluster) startCLI(args ...string) (cmd *exec.Cmd, out *logBuffer) {
	c.t.Helper()
	cmd, out = exec.Command(filepath.Join(built.bin, "orchion"), args...), &logBuffer{}
	cmd.Env = append(os.Environ(), "ORCHION_URL="+c.url)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return cmd, out
}

// waitOut waits until a command has printed something.
func (c *cluster) waitOut(out *logBuffer, text string) {
	c.t.Helper()
	c.eventually("the command prints "+text, func() error {
		if printed := out.String(); !strings.Contains(printed, text) {
			return fmt.Errorf("it has printed %q", printed)
		}
		return nil
	})
}

func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("run", e)
		end := func(cmd *exec.Cmd, out *logBuffer) {
			t.Helper()
			var ended *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 130 {
				t.Errorf("ended with %v, want exit code 130; it printed\n%s", err, out.String())
			}
		}
		job := func(out *logBuffer) string {
			t.Helper()
			_, after, _ := strings.Cut(out.String(), "job ")
			id, _, _ := strings.Cut(after, "\n")
			return id
		}
		interrupt := func(cmd *exec.Cmd) {
			t.Helper()
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("once cancels", func(t *testing.T) {
			cmd, out := c.startCLI("job", "run", "--image", jobImage, "--pull", "never", "--", "hold")
			c.waitOut(out, "holding")
			interrupt(cmd)
			end(cmd, out)
			if !strings.Contains(out.String(), "told to stop") {
				t.Errorf("it did not stay to the job's end; it printed\n%s", out.String())
			}
			c.waitJob(job(out), cancelled)
		})
		t.Run("twice leaves", func(t *testing.T) {
			cmd, out := c.startCLI("job", "run", "--image", jobImage, "--pull", "never", "--stop-grace", "5s", "--", "stubborn")
			c.waitOut(out, "stubborn")
			interrupt(cmd)
			c.waitOut(out, "press Ctrl-C again")
			interrupt(cmd)
			end(cmd, out)
			c.waitJob(job(out), cancelled)
		})
	})
}

// A job file with all that a container can find around it, on a real engine.
func TestJobFile(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("file", e)
		volume := fmt.Sprintf("e2e-%d", os.Getpid())
		defer func() {
			c.eventually("the volume is removed", func() error { return e.RemoveVolume(t.Context(), "orchion-volume-"+volume) })
		}()
		dir := t.TempDir()
		write := func(name, text string) string {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		write("data.txt", "from a file\n")
		file := write("job.yaml", `
parameters:
  word:
  times: 2
name: file-${word}
spec:
  container:
    image: `+jobImage+`
    pullPolicy: PULL_POLICY_NEVER
    args: [where, cat, /in/text, cat, /in/deep/file, put, /scratch/x, "${word}", cat, /scratch/x, env, GREETING, env, TIMES]
    env: { GREETING: "hello ${word}", TIMES: "${times}" }
    workingDir: /in
    user: "1234:2345"
    shmBytes: 8MiB
    tmpfs: [{ path: /scratch, sizeBytes: 1MiB }]
    files:
      - { path: /in/text, text: "as text\n", mode: 0400 }
      - { path: /in/deep/file, from: data.txt }
  resources: { memoryBytes: 64MiB, diskBytes: 16MiB }
  timeout: 1m
`)
		want := "/in 1234 2345\nas text\nfrom a file\nagain\nGREETING=hello again\nTIMES=2\n"
		if out := c.cli("job", "run", "-f", file, "--set", "word=again"); out != want {
			t.Errorf("it printed %q, want %q", out, want)
		}
		// A volume outlives its job.
		c.cli("job", "run", "--image", jobImage, "--pull", "never", "--volume", volume+":/keep", "--", "put", "/keep/x", "kept")
		if out := c.cli("job", "run", "--image", jobImage, "--pull", "never", "--volume", volume+":/keep:ro", "--", "cat", "/keep/x"); out != "kept\n" {
			t.Errorf("the volume holds %q", out)
		}
		cmd, out := c.startCLI("job", "run", "--image", jobImage, "--pull", "never", "--volume", volume+":/keep:ro", "--", "put", "/keep/x", "changed")
		var ended *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 2 || !strings.Contains(out.String(), "read-only") {
			t.Errorf("writing to a read-only volume ended with %v; it printed\n%s", err, out.String())
		}
	})
}
