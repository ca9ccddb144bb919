package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Applying a file again changes nothing, although the orchestrator fills in what it leaves
// out; and what changes in it is changed.
func TestApply(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	file := filepath.Join(t.TempDir(), "all.yaml")
	text := `
kind: Queue
name: night
maxRunning: 3
---
kind: Schedule
name: nightly
cron: "30 3 * * *"
template:
  labels: {team: a}
  spec:
    container:
      image: busybox
      args: [echo]
      tmpfs: [{path: /scratch}]
      files: [{path: /in/a, text: hello}]
    resources: {memoryBytes: 64MiB}
    retry: {maxAttempts: 3, initialBackoff: 2s}
    timeout: 10m
---
kind: Schedule
name: asked
cron: "@daily"
template: {spec: {chat: {model: m, messages: [{role: user, content: hello}]}}}
---
kind: Schedule
name: program
cron: "@daily"
template: {spec: {process: {command: sh, args: [-c, date]}}}
---
kind: Deployment
name: small
spec: {model: "qwen3:0.6b", engine: ENGINE_OLLAMA, constraints: [os=plan9], resources: {memoryBytes: 1GiB}}
---
kind: Job
name: once
spec: {queue: night, container: {image: busybox}}
`
	apply := func() string {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return c.cli("apply", "-f", file)
	}
	if got := apply(); strings.Count(got, " created") != 6 {
		t.Fatalf("the first time:\n%s", got)
	}
	if got := apply(); strings.Count(got, " unchanged") != 6 {
		t.Errorf("the second time:\n%s", got)
	}
	text = strings.NewReplacer("maxRunning: 3", "maxRunning: 4", "args: [echo]", "args: [date]", "1GiB", "2GiB", "{queue: night,", "{").Replace(text)
	if got := apply(); strings.Count(got, " unchanged") != 2 || strings.Count(got, " updated") != 3 || !strings.Contains(got, "Job once created") {
		t.Errorf("with changes:\n%s", got)
	}
	if got := apply(); strings.Count(got, " unchanged") != 6 {
		t.Errorf("once more:\n%s", got)
	}
	if got := c.cli("delete", "-f", file); strings.Count(got, " deleted") != 5 || !strings.Contains(got, "Job once cancelled") {
		t.Errorf("deleting:\n%s", got)
	}
	if got := c.cli("delete", "-f", file); strings.Count(got, " absent") != 5 || !strings.Contains(got, "Job once has ended") {
		t.Errorf("deleting again:\n%s", got)
	}
}
