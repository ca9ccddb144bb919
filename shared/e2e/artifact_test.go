package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// keeps has a job keep artifacts, and gives it a folder /out, since Podman lets no
// program write to the root of an image without anything.
func keeps(specs ...*orchionv1.ArtifactSpec) func(*orchionv1.SubmitJobRequest) {
	return func(r *orchionv1.SubmitJobRequest) {
		r.Spec.GetContainer().Files = []*orchionv1.InputFile{{Path: "/out/given", Content: []byte("given")}}
		r.Spec.GetContainer().Artifacts = specs
	}
}

// describe gives a file's size and SHA-256 as testjob prints them.
func describe(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %x\n", size, hash.Sum(nil))
}

func TestArtifacts(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("artifacts", e)
		dir := t.TempDir()

		t.Run("what was written is downloaded", func(t *testing.T) {
			given := filepath.Join(t.TempDir(), "given")
			if err := os.WriteFile(given, []byte("given"), 0o600); err != nil {
				t.Fatal(err)
			}
			out := c.cli("job", "run", "--image", jobImage, "--pull", "never", "--download", dir, "--input", given+":/out/given.txt",
				"--artifact", "/out/**/*.txt", "--artifact", "/out/model.bin:best/model", "--optional-artifact", "/none",
				"--", "put", "/out/deep/a.txt", "hello", "put", "/out/b.txt", "there", "put", "/out/b", "", "random", "/out/model.bin", "3000001")
			if got := describe(t, filepath.Join(dir, "best", "model")); got != out {
				t.Errorf("downloaded %q, written %q", got, out)
			}
			for name, want := range map[string]string{"out/deep/a.txt": "hello\n", "out/b.txt": "there\n", "out/given.txt": "given"} {
				if got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name))); err != nil || string(got) != want {
					t.Errorf("%s is %q, %v", name, got, err)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "out", "b")); err == nil {
				t.Error("what was not asked for was downloaded, too")
			}
		})
		t.Run("what is missing fails a job", func(t *testing.T) {
			job := c.waitJob(c.submit([]string{"put", "/out/a", "x"}, keeps(&orchionv1.ArtifactSpec{Path: "/out/b"})), failed)
			if want := "its artifacts could not be kept: there is no file at /out/b"; !strings.Contains(job.GetReason(), want) {
				t.Errorf("the reason is %q, want %q", job.GetReason(), want)
			}
			if got := job.GetAttempts()[0].GetFailure(); got != orchionv1.FailureClass_FAILURE_CLASS_INVALID {
				t.Errorf("the class is %v", got)
			}
		})
		t.Run("failed jobs leave what there is", func(t *testing.T) {
			id := c.submit([]string{"put", "/out/a", "x", "exit", "3"}, keeps(&orchionv1.ArtifactSpec{Path: "/out/*"}, &orchionv1.ArtifactSpec{Path: "/none"}))
			if job := c.waitJob(id, failed); job.GetResult().GetExitCode() != 3 || strings.Contains(job.GetReason(), "artifacts") {
				t.Errorf("ended with %v: %s", job.GetResult(), job.GetReason())
			}
			if out := c.cli("job", "artifacts", id); !strings.Contains(out, "out/a") {
				t.Errorf("left\n%s", out)
			}
		})
	})
}

// What a job left arrives whole, although the orchestrator and the agent are killed
// while it is sent.
func TestKilledWhileArtifactsAreSent(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("sending", e)
		incoming := filepath.Join(c.dir, "orchestrator", "blobs", "incoming")
		var id string
		sending := func() {
			t.Helper()
			for {
				// Looked at often: it does not take long.
				for range 100 {
					if entries, err := os.ReadDir(incoming); err == nil && len(entries) > 0 {
						return
					}
					time.Sleep(time.Millisecond)
				}
				if job := c.job(id); job.GetFinishedAt() != nil {
					t.Fatalf("nothing was sent: %s", job.GetReason())
				}
			}
		}
		id = c.submit([]string{"random", "/out/large", "150000000", "put", "/out/small", "x"}, keeps(&orchionv1.ArtifactSpec{Path: "/out"}))
		sending()
		c.orchestrator.kill()
		c.restartOrchestrator()
		sending()
		a.kill()
		a.program = a.start()
		job := c.waitJob(id, succeeded)
		if len(job.GetAttempts()) != 1 {
			t.Errorf("%d attempts, want the one", len(job.GetAttempts()))
		}
		dir := t.TempDir()
		c.cli("job", "download", id, "out/large", "-d", dir)
		if got, want := describe(t, filepath.Join(dir, "out", "large")), c.logText(id); got != want {
			t.Errorf("downloaded %q, written %q", got, want)
		}
		if entries, err := os.ReadDir(incoming); err != nil || len(entries) != 0 {
			t.Errorf("half of something is left: %v, %v", entries, err)
		}
	})
}
