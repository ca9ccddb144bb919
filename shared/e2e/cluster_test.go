package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// patience bounds every wait: long, because machines that run tests are slow,
// and never reached when things work.
const patience = 90 * time.Second

// cluster is an orchestrator and its node agents, all real processes.
type cluster struct {
	t            *testing.T
	dir          string
	flags        []string
	orchestrator *program
	// url and grpc are where the orchestrator listens; they stay the same
	// when it is started again.
	url, grpc string
	agents    map[string]*agentProgram
}

type agentProgram struct {
	*program
	id     string
	engine *engine.Engine
	start  func() *program
}

// newCluster starts an orchestrator. Everything ends with the test.
func newCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), flags: flags, agents: map[string]*agentProgram{}}
	c.startOrchestrator("0", "0")
	return c
}

func (c *cluster) startOrchestrator(grpcPort, httpPort string) {
	c.t.Helper()
	data := filepath.Join(c.dir, "orchestrator")
	args := append([]string{
		// The one machine of these tests stands for many.
		"--direct-path=false",
		"--port", grpcPort, "--http-port", httpPort, "--data-dir", data, "--heartbeat-timeout", "3s", "--lease-ttl", "6s",
	}, c.flags...)
	c.orchestrator = start(c.t, "orchestrator", nil, args...)
	var addresses struct {
		PID         int    `json:"pid"`
		GRPCAddress string `json:"grpcAddress"`
		HTTPURL     string `json:"httpUrl"`
	}
	c.eventually("the orchestrator is ready", func() error {
		raw, err := os.ReadFile(filepath.Join(data, "orchestrator.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &addresses); err != nil {
			return err
		}
		if addresses.PID != c.orchestrator.cmd.Process.Pid {
			return errors.New("the addresses are those of an earlier run")
		}
		response, err := http.Get(addresses.HTTPURL + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz answers %s", response.Status)
		}
		return nil
	})
	c.url, c.grpc = addresses.HTTPURL, addresses.GRPCAddress
}

// restartOrchestrator starts it again where it was.
func (c *cluster) restartOrchestrator() {
	c.t.Helper()
	port := func(address string) string { return address[strings.LastIndex(address, ":")+1:] }
	c.startOrchestrator(port(c.grpc), port(strings.TrimPrefix(c.url, "http://")))
}

// agentsStarted tells nodes of one name apart: many tests share an engine.
var agentsStarted atomic.Int64

// addAgent starts a node agent on an engine and waits until it is online.
func (c *cluster) addAgent(name string, e *engine.Engine, flags ...string) *agentProgram {
	c.t.Helper()
	id := fmt.Sprintf("e2e-%s-%d-%d", name, os.Getpid(), agentsStarted.Add(1))
	a := &agentProgram{id: id, engine: e}
	env := []string{"DOCKER_HOST=" + e.Host}
	args := append([]string{
		"--orchestrator", c.grpc, "--node-id", id, "--data-dir", filepath.Join(c.dir, name), "--heartbeat-interval", "1s",
	}, flags...)
	if !slices.Contains(flags, "--adopt") {
		args = append(args, "--adopt", "none")
	}
	a.start = func() *program { return start(c.t, "node-agent", env, args...) }
	a.program = a.start()
	c.agents[name] = a
	c.t.Cleanup(func() {
		a.stop()
		// The jobs first: they live in the network of their forwarders, or in one they were lent.
		for _, label := range []string{"orchion.node=", "orchion.link.node=", "orchion.network.node="} {
			if err := e.RemoveContainers(context.Background(), label+id); err != nil {
				c.t.Errorf("cleaning up: %v", err)
			}
		}
	})
	c.eventually("node "+id+" is online with a runtime", func() error {
		node := &orchionv1.Node{}
		if err := c.get("/api/nodes/"+id, node); err != nil {
			return err
		}
		if node.GetState() != orchionv1.NodeState_NODE_STATE_ONLINE || len(node.GetCapabilities().GetRuntimes()) == 0 {
			return fmt.Errorf("it is %v with runtimes %v", node.GetState(), node.GetCapabilities().GetRuntimes())
		}
		return nil
	})
	return a
}

// program is a running process.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{}
	log  *logBuffer
}

// start runs one of the built programs. Its output is shown when the test
// fails; it is stopped with the test.
func start(t *testing.T, name string, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, done: make(chan struct{}), log: &logBuffer{}}
	p.cmd = exec.Command(filepath.Join(built.bin, name), args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is looked at by those who wait on done
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("---- %s %s\n%s", name, strings.Join(args, " "), p.log.String())
		}
	})
	return p
}

// stop asks the program to end, as Ctrl-C does, and waits. It may be called
// twice.
func (p *program) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("%s did not stop within %v of SIGTERM", p.name, patience)
		p.kill()
	}
}

// kill ends the program as a crash or a power cut would.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.done
}

// logBuffer keeps the last of what a program prints.
type logBuffer struct {
	mu   sync.Mutex // guards data
	data bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.data.Len() > 1<<20 {
		b.data.Reset()
	}
	return b.data.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// eventually tries until it works, and fails the test when it does not in time.
func (c *cluster) eventually(what string, try func() error) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("waiting until %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// call makes a REST request; answers other than 2xx are *httpError.
func (c *cluster) call(method, path string, body, out proto.Message) error {
	var payload io.Reader
	if body != nil {
		data, err := protojson.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, c.url+path, payload)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return &httpError{response.StatusCode, string(data)}
	}
	if out == nil {
		return nil
	}
	return protojson.Unmarshal(data, out)
}

type httpError struct {
	status int
	body   string
}

func (e *httpError) Error() string { return fmt.Sprintf("%d %s", e.status, e.body) }

func (c *cluster) get(path string, out proto.Message) error {
	return c.call(http.MethodGet, path, nil, out)
}

// submit queues a container job of the test image.
func (c *cluster) submit(args []string, change ...func(*orchionv1.SubmitJobRequest)) string {
	c.t.Helper()
	request := &orchionv1.SubmitJobRequest{Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{
		Image: jobImage, Args: args, PullPolicy: orchionv1.PullPolicy_PULL_POLICY_NEVER,
	}}}}
	for _, f := range change {
		f(request)
	}
	job := &orchionv1.Job{}
	if err := c.call(http.MethodPost, "/api/jobs", request, job); err != nil {
		c.t.Fatalf("submitting: %v", err)
	}
	return job.GetId()
}

func (c *cluster) job(id string) *orchionv1.Job {
	c.t.Helper()
	job := &orchionv1.Job{}
	c.eventually("the orchestrator answers", func() error { return c.get("/api/jobs/"+id, job) })
	return job
}

// waitJob waits until a job is in the state; a job that ended otherwise fails
// the test at once.
func (c *cluster) waitJob(id string, state orchionv1.JobState) *orchionv1.Job {
	c.t.Helper()
	job := &orchionv1.Job{}
	c.eventually(fmt.Sprintf("job %s is %v", id, state), func() error {
		if err := c.get("/api/jobs/"+id, job); err != nil {
			return err
		}
		if job.GetState() == state {
			return nil
		}
		if job.GetResult() != nil {
			c.t.Fatalf("job %s ended as %v (%s), want %v; attempts %v", id, job.GetState(), job.GetReason(), state, job.GetAttempts())
		}
		return fmt.Errorf("it is %v: %s", job.GetState(), job.GetReason())
	})
	return job
}

// logText reads the log of a job as text: all of it, in order.
func (c *cluster) logText(id string) string {
	c.t.Helper()
	response, err := http.Get(c.url + "/api/jobs/" + id + "/logs")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		c.t.Fatalf("log of %s: %s, %v", id, response.Status, err)
	}
	return string(data)
}

// waitLog waits until a job has printed a line.
func (c *cluster) waitLog(id, line string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("job %s prints %q", id, line), func() error {
		if text := c.logText(id); !strings.Contains(text, line+"\n") {
			return fmt.Errorf("its log is %q", text)
		}
		return nil
	})
}

// cli runs the command line against the cluster and answers its stdout.
func (c *cluster) cli(args ...string) string {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(built.bin, "orchion"), args...)
	cmd.Env = append(os.Environ(), "ORCHION_URL="+c.url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("orchion %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}
