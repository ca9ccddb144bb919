package e2e

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchion/orchion/shared/testbed/engine"
)

// A large input file arrives in the container as it was, also when it is a
// schedule's, a job file's, or its upload was there before.
func TestLargeInputFile(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("inputs", e)
		content := make([]byte, 5<<20+123)
		rand.NewChaCha8([32]byte{1}).Read(content)
		name := filepath.Join(t.TempDir(), "large.bin")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%d %x\n", len(content), sha256.Sum256(content))
		for range 2 {
			out := c.cli("job", "submit", "--follow", "--image", jobImage, "--pull", "never", "--input", name+":/in/deep/large.bin", "--", "sum", "/in/deep/large.bin")
			if out != want {
				t.Errorf("the job saw %q, want %q", out, want)
			}
		}
		file := filepath.Join(filepath.Dir(name), "job.yaml")
		text := "spec: {container: {image: " + jobImage + ", pullPolicy: PULL_POLICY_NEVER, args: [sum, /in/a], files: [{path: /in/a, from: large.bin}]}}"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSpace(c.cli("job", "submit", "-f", file))
		c.waitJob(id, succeeded)
		if log := c.logText(id); log != want {
			t.Errorf("the job of a file saw %q, want %q", log, want)
		}
		c.cli("schedule", "apply", "yearly", "--cron", "@yearly", "--image", jobImage, "--pull", "never", "--input", name+":/in/a", "--", "sum", "/in/a")
		id = strings.TrimSpace(c.cli("schedule", "trigger", "yearly"))
		c.waitJob(id, succeeded)
		if log := c.logText(id); log != want {
			t.Errorf("the job of a schedule saw %q, want %q", log, want)
		}
	})
}
