//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// processAgent starts a node agent without a container engine whose policy allows sh, with
// arguments of one line, and the variable WHO.
func (c *cluster) processAgent() *agentProgram {
	c.t.Helper()
	data := filepath.Join(c.dir, "process")
	if err := os.MkdirAll(data, 0o700); err != nil {
		c.t.Fatal(err)
	}
	policy := "processes:\n  - {name: sh, path: /bin/sh, args: ['.*'], env: [WHO]}\n"
	if err := os.WriteFile(filepath.Join(data, "policy.yaml"), []byte(policy), 0o600); err != nil {
		c.t.Fatal(err)
	}
	a := &agentProgram{id: fmt.Sprintf("e2e-process-%d", os.Getpid())}
	a.start = func() *program {
		return start(c.t, "node-agent", []string{"SECRET=hunter2"},
			"--orchestrator", c.grpc, "--node-id", a.id, "--data-dir", data, "--runtime", "none", "--adopt", "none", "--heartbeat-interval", "1s")
	}
	a.program = a.start()
	c.eventually("the node offers sh", func() error {
		node := &orchionv1.Node{}
		if err := c.get("/api/nodes/"+a.id, node); err != nil {
			return err
		}
		if len(node.GetCapabilities().GetProcesses()) != 1 {
			return fmt.Errorf("it offers %v", node.GetCapabilities().GetProcesses())
		}
		return nil
	})
	return a
}

// process submits a script for sh.
func (c *cluster) process(script string, change ...func(*orchionv1.ProcessSpec)) string {
	c.t.Helper()
	spec := &orchionv1.ProcessSpec{Command: "sh", Args: []string{"-c", script}}
	for _, f := range change {
		f(spec)
	}
	job := &orchionv1.Job{}
	request := &orchionv1.SubmitJobRequest{Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Process{Process: spec}}}
	if err := c.call(http.MethodPost, "/api/jobs", request, job); err != nil {
		c.t.Fatalf("submitting: %v", err)
	}
	return job.GetId()
}

// value waits until a job has printed NAME=VALUE and gives the value.
func (c *cluster) value(id, name string) string {
	c.t.Helper()
	var value string
	c.eventually("job "+id+" prints "+name, func() error {
		text := c.logText(id)
		_, rest, found := strings.Cut(text, name+"=")
		var ended bool
		if value, _, ended = strings.Cut(rest, "\n"); !found || !ended {
			return fmt.Errorf("its log is %q", text)
		}
		return nil
	})
	return value
}

func (c *cluster) awaitGone(pid string) {
	c.t.Helper()
	if _, err := strconv.Atoi(pid); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("process "+pid+" is gone", func() error {
		data, err := os.ReadFile("/proc/" + pid + "/stat")
		if err == nil && !strings.Contains(string(data), ") Z ") {
			return fmt.Errorf("it lives: %s", data)
		}
		return nil
	})
}

func TestProcessJobs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.processAgent()
	t.Run("run", func(t *testing.T) {
		id := c.process("echo hello $WHO; echo oops >&2; echo secret $SECRET; pwd; exit 7", func(p *orchionv1.ProcessSpec) {
			p.Env = map[string]string{"WHO": "world"}
		})
		job := c.waitJob(id, failed)
		if job.GetResult().GetExitCode() != 7 || job.GetReason() != "the process ended with exit code 7" {
			t.Errorf("it ended with %v, %q", job.GetResult(), job.GetReason())
		}
		text := c.logText(id)
		for _, want := range []string{"hello world\n", "oops\n", "secret\n", "/processes/orchion-job-" + id} {
			if !strings.Contains(text, want) {
				t.Errorf("its log lacks %q: %q", want, text)
			}
		}
		c.eventually("its folder is gone", func() error {
			left, err := os.ReadDir(filepath.Join(c.dir, "process", "processes"))
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("there are %v", left)
			}
			return err
		})
	})
	t.Run("refused by the node", func(t *testing.T) {
		id := c.process("true", func(p *orchionv1.ProcessSpec) { p.Env = map[string]string{"LD_PRELOAD": "/tmp/x.so"} })
		job := c.waitJob(id, failed)
		if want := "this node's policy does not allow the variable LD_PRELOAD for sh: nothing in processes[0].env matches it"; job.GetReason() != want ||
			job.GetAttempts()[0].GetFailure() != orchionv1.FailureClass_FAILURE_CLASS_INVALID {
			t.Errorf("it failed with %q, %v", job.GetReason(), job.GetAttempts())
		}
	})
	t.Run("allowed nowhere", func(t *testing.T) {
		id := c.process("true", func(p *orchionv1.ProcessSpec) { p.Command = "bash" })
		c.eventually("it says why it waits", func() error {
			job := c.job(id)
			if want := "does not allow bash; its policy allows sh"; !strings.Contains(job.GetReason(), want) {
				return fmt.Errorf("it is %v: %q", job.GetState(), job.GetReason())
			}
			return nil
		})
		c.cancel(id)
	})
	t.Run("cancelled with its children", func(t *testing.T) {
		id := c.process("setsid sh -c 'trap \"\" TERM; echo child=$$; while :; do sleep 1; done' & trap 'echo told to stop; exit 3' TERM; wait")
		child := c.value(id, "child")
		c.cancel(id)
		job := c.waitJob(id, cancelled)
		if job.GetResult().GetExitCode() != 3 {
			t.Errorf("it ended with %v", job.GetResult())
		}
		c.waitLog(id, "told to stop")
		c.awaitGone(child)
	})
	t.Run("goes on without its agent", func(t *testing.T) {
		goOn := filepath.Join(t.TempDir(), "go")
		id := c.process("echo base=$OPENAI_BASE_URL; echo key=$OPENAI_API_KEY; i=0; while ! [ -e "+goOn+" ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo last $i; exit 5", func(p *orchionv1.ProcessSpec) {
			p.Models = []string{"m"}
		})
		base, key := c.value(id, "base"), c.value(id, "key")
		gatewayAnswers(t, c, base, key)
		a.kill()
		a.program = a.start()
		gatewayAnswers(t, c, base, key)
		if err := os.WriteFile(goOn, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		job := c.waitJob(id, failed)
		if job.GetResult().GetExitCode() != 5 || len(job.GetAttempts()) != 1 {
			t.Errorf("it ended with %v after %v", job.GetResult(), job.GetAttempts())
		}
		lines := strings.Split(strings.TrimSpace(c.logText(id)), "\n")[2:]
		for i, line := range lines[:len(lines)-1] {
			if line != fmt.Sprintf("line %d", i+1) {
				t.Fatalf("line %d of its log is %q", i+1, line)
			}
		}
		if want := fmt.Sprintf("last %d", len(lines)-1); lines[len(lines)-1] != want {
			t.Errorf("its log ends with %q, want %q", lines[len(lines)-1], want)
		}
	})
	t.Run("is taken back by its policy", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(c.dir, "process", "policy.yaml"), []byte("processes: []\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.eventually("the node offers nothing", func() error {
			node := &orchionv1.Node{}
			if err := c.get("/api/nodes/"+a.id, node); err != nil {
				return err
			}
			if n := len(node.GetCapabilities().GetProcesses()); n > 0 {
				return fmt.Errorf("it offers %d", n)
			}
			return nil
		})
	})
}

// gatewayAnswers waits until the gateway answers the holder of the key, and nobody else.
func gatewayAnswers(t *testing.T, c *cluster, base, key string) {
	t.Helper()
	ask := func(key string) (int, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/models", http.NoBody)
		if err != nil {
			return 0, err
		}
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := (&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			return 0, err
		}
		defer func() { _ = response.Body.Close() }() // only read from
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	}
	c.eventually("the gateway answers at "+base, func() error {
		status, err := ask(key)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("it answers %d", status)
		}
		return err
	})
	if status, err := ask("another"); err != nil || status != http.StatusUnauthorized {
		t.Errorf("to another key it answers %d, %v", status, err)
	}
}
