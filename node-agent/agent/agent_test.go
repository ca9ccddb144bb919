package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	"github.com/orchion/orchion/node-agent/internal/session"
	"github.com/orchion/orchion/node-agent/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMachine is a machine with a fake container engine, or none.
type fakeMachine struct {
	mu      sync.Mutex // guards what follows
	engine  *fake.Driver
	engines []*orchionv1.LocalEngine
}

// keptOpen is an engine that outlives the agent's connection to it.
type keptOpen struct{ driver.Driver }

func (keptOpen) Close() error { return nil }

func (m *fakeMachine) openRuntime(context.Context) driver.Driver {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return nil
	}
	return keptOpen{m.engine}
}

func (m *fakeMachine) hasRuntime(context.Context) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engine != nil
}

func (m *fakeMachine) capabilities(_ context.Context, containers driver.Driver) *orchionv1.Capabilities {
	c := &orchionv1.Capabilities{Os: "linux"}
	if containers != nil {
		c.Runtimes = []*orchionv1.ContainerRuntime{{Name: "docker"}}
	}
	return c
}

func (m *fakeMachine) runtime(ctx context.Context, containers driver.Driver) *orchionv1.ContainerRuntime {
	if containers.Ping(ctx) != nil {
		return nil
	}
	return &orchionv1.ContainerRuntime{Name: "docker"}
}

func (m *fakeMachine) describeAll(ctx context.Context) *orchionv1.Capabilities {
	return m.capabilities(ctx, nil)
}

func (m *fakeMachine) usage(context.Context) (*orchionv1.NodeUsage, error) {
	return &orchionv1.NodeUsage{CpuPercent: 12}, nil
}

func (m *fakeMachine) adoptable(context.Context, driver.Driver) []*orchionv1.LocalEngine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engines
}

func (m *fakeMachine) services(string, driver.Driver, *tunnel.Dialer, func() []string, ollama.Peers) services {
	return services{close: func() {}}
}

func (m *fakeMachine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// trial is an agent against a fake orchestrator.
type trial struct {
	t        *testing.T
	far      *fakeorchestrator.Fake
	machine  *fakeMachine
	agent    *Agent
	logged   *lockedBuffer
	cancel   context.CancelFunc
	ended    chan error
	finished chan struct{} // closed when Run has returned; nil: it was not called
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	engine := fake.New(fake.Options{Programs: map[string]fake.Program{
		"/wait": func(p *fake.Process) int {
			if p.Sleep(time.Hour) {
				return 0
			}
			return 143
		},
	}})
	engine.AddImage("wait:1", fake.Image{Entrypoint: []string{"/wait"}})
	tr := &trial{t: t, far: fakeorchestrator.New(), machine: &fakeMachine{engine: engine}, logged: &lockedBuffer{}}
	cfg := DefaultConfig()
	cfg.DataDir, cfg.NodeID = filepath.Join(t.TempDir(), "data"), "node-1"
	cfg.Labels = map[string]string{"room": "attic"}
	cfg.Logger = slog.New(slog.NewTextHandler(tr.logged, nil))
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.machine, a.dial = tr.machine, tr.far.DialOptions()
	tr.agent = a
	tr.far.Start()
	return tr
}

func (tr *trial) run() {
	ctx, cancel := context.WithCancel(tr.t.Context())
	tr.cancel, tr.ended = cancel, make(chan error, 1)
	tr.finished = make(chan struct{})
	go func() {
		defer close(tr.finished)
		tr.ended <- tr.agent.Run(ctx)
	}()
}

func (tr *trial) close() {
	tr.cancel()
	tr.far.Stop()
	if tr.machine.engine != nil {
		if err := tr.machine.engine.Close(); err != nil {
			tr.t.Error(err)
		}
	}
	if tr.finished != nil {
		<-tr.finished // time stands still for it once the test has returned
	}
}

// job is an assignment of a job that waits to be stopped.
func job(id string) *orchionv1.JobAssignment {
	return &orchionv1.JobAssignment{
		Ref: &orchionv1.AttemptRef{JobId: id, Attempt: 1}, LeaseTtl: durationpb.New(30 * time.Second),
		Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: "wait:1"}}},
	}
}

// serve answers renewals and hands on statuses until the stream ends.
func serve(s *fakeorchestrator.Stream, statuses chan<- *orchionv1.AttemptStatus) {
	for {
		select {
		case m := <-s.Said:
			switch {
			case m.GetRenewLeases() != nil:
				s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_LeasesRenewed{LeasesRenewed: &orchionv1.LeasesRenewed{
					Sequence: m.GetRenewLeases().GetSequence(), LeaseTtl: durationpb.New(30 * time.Second), Renewed: m.GetRenewLeases().GetAttempts(),
				}}})
			case m.GetAttemptStatus() != nil:
				statuses <- m.GetAttemptStatus()
			}
		case <-s.Done():
			return
		}
	}
}

func assignments(jobs ...*orchionv1.JobAssignment) *orchionv1.ConnectResponse {
	return &orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_Assignments{Assignments: &orchionv1.AssignmentSet{Jobs: jobs}}}
}

func TestRunsAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		defer tr.close()
		tr.run()
		s := <-tr.far.Streams
		statuses := make(chan *orchionv1.AttemptStatus, 16)
		go serve(s, statuses)
		s.Say(assignments(job("a")))
		for st := range statuses {
			if st.GetState() == orchionv1.AttemptState_ATTEMPT_STATE_RUNNING {
				break
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		node := tr.far.Registered()[0].GetNode()
		if node.GetId() != "node-1" || node.GetLabels()["room"] != "attic" || node.GetHostname() == "" || len(node.GetCapabilities().GetRuntimes()) != 1 {
			t.Errorf("registered as %v", node)
		}
		usages := tr.far.Usages()
		if last := usages[len(usages)-1]; last.GetRunningJobs() != 1 || last.GetCpuPercent() != 12 {
			t.Errorf("usage = %v, want 1 running job and 12 %%", last)
		}

		tr.cancel()
		if err := <-tr.ended; err != nil {
			t.Fatalf("error = %v", err)
		}
		if calls := tr.far.Calls(); calls[len(calls)-1] != "DeregisterNode" {
			t.Errorf("the last call is %s, want DeregisterNode", calls[len(calls)-1])
		}
		if list, err := tr.machine.engine.List(t.Context(), nil); err != nil || len(list) != 0 {
			t.Errorf("containers after leaving: %v, %v", list, err)
		}
		select {
		case st := <-statuses:
			t.Errorf("a node that leaves said how a job ended: %v", st)
		default:
		}
	})
}

func TestSupersededLeavesContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		defer tr.close()
		tr.run()
		s := <-tr.far.Streams
		go serve(s, make(chan *orchionv1.AttemptStatus, 16))
		s.Say(assignments(job("a")))
		time.Sleep(time.Second / 2)
		tr.far.Fail("Heartbeat", status.Error(codes.Aborted, "taken over"))
		if err := <-tr.ended; !errors.Is(err, session.ErrSuperseded) {
			t.Fatalf("error = %v, want ErrSuperseded", err)
		}
		// The agent that took the id over takes the containers over, too.
		if list, err := tr.machine.engine.List(t.Context(), nil); err != nil || len(list) != 1 {
			t.Errorf("containers: %v, %v, want the job's", list, err)
		}
	})
}

func TestLeavesInTimeWithoutAnOrchestrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		defer tr.close()
		tr.far.Stop()
		tr.run()
		time.Sleep(time.Minute)
		began := time.Now()
		tr.cancel()
		if err := <-tr.ended; err != nil {
			t.Fatalf("error = %v", err)
		}
		if took := time.Since(began); took > tr.agent.cfg.ShutdownTimeout {
			t.Errorf("took %v, more than the shutdown timeout", took)
		}
		if !strings.Contains(tr.logged.String(), "cannot reach the orchestrator") {
			t.Errorf("nothing was said of the missing orchestrator:\n%s", tr.logged)
		}
	})
}

func TestContainerEngineAppearsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		engine := tr.machine.engine
		tr.machine.engine = nil
		defer tr.close()
		tr.run()
		<-tr.far.Streams
		tr.machine.set(func() { tr.machine.engine = engine })
		<-tr.far.Streams
		nodes := tr.far.Registered()
		if got := len(nodes[0].GetNode().GetCapabilities().GetRuntimes()); got != 0 {
			t.Errorf("%d runtimes at first, want none", got)
		}
		last := nodes[len(nodes)-1]
		if len(last.GetNode().GetCapabilities().GetRuntimes()) != 1 || last.GetInstanceId() != nodes[0].GetInstanceId() {
			t.Errorf("registered again as %v, want the runtime and the same instance", last)
		}
	})
}

// A node whose container engine hangs or goes away offers it no more until it is back.
func TestContainerEngineThatDoesNotAnswerIsWithdrawn(t *testing.T) {
	for _, c := range []struct {
		name  string
		away  func(*fake.Driver)
		again func(*fake.Driver)
	}{
		{"it hangs", func(d *fake.Driver) { d.SetHanging(true) }, func(d *fake.Driver) { d.SetHanging(false) }},
		{"it ends", func(d *fake.Driver) { d.SetDown(errors.New("gone")) }, func(d *fake.Driver) { d.SetDown(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTrial(t)
				defer tr.close()
				tr.run()
				s := <-tr.far.Streams
				s.Say(assignments())
				time.Sleep(time.Minute)
				// runtimes is how many the last registration offered; registrations how many there were.
				last := func() (runtimes, registrations int) {
					synctest.Wait()
					nodes := tr.far.Registered()
					return len(nodes[len(nodes)-1].GetNode().GetCapabilities().GetRuntimes()), len(nodes)
				}
				if runtimes, n := last(); runtimes != 1 || n != 1 {
					t.Fatalf("%d runtimes after %d registrations, want one of each while nothing happens", runtimes, n)
				}
				c.away(tr.machine.engine)
				time.Sleep(idlePingPeriod + time.Second)
				c.again(tr.machine.engine)
				time.Sleep(time.Minute)
				if _, n := last(); n != 1 {
					t.Errorf("registered again for an engine that was restarted")
				}
				// With an attempt on the node it is asked more often.
				statuses := make(chan *orchionv1.AttemptStatus, 64)
				go serve(s, statuses)
				s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_AssignJob{AssignJob: job("a")}})
				time.Sleep(time.Second)
				c.away(tr.machine.engine)
				time.Sleep(maxPings * (pingPeriod + pingPatience))
				if runtimes, n := last(); runtimes != 0 || n != 2 {
					t.Errorf("%d runtimes after %d registrations, want none after another", runtimes, n)
				}
				time.Sleep(time.Minute)
				c.again(tr.machine.engine)
				time.Sleep(pingPeriod + time.Second)
				if runtimes, n := last(); runtimes != 1 || n != 3 {
					t.Errorf("%d runtimes after %d registrations, want one after another", runtimes, n)
				}
				if !strings.Contains(tr.logged.String(), "takes no containers until it does") {
					t.Errorf("nothing was said of it:\n%s", tr.logged)
				}
			})
		})
	}
}

func TestEnginesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		defer tr.close()
		tr.run()
		s := <-tr.far.Streams
		s.Say(assignments())
		synctest.Wait()
		<-s.Said // its images
		ollama := &orchionv1.LocalEngine{Name: "ollama", Endpoint: "http://127.0.0.1:11434", Models: []string{"m"}}
		tr.machine.set(func() { tr.machine.engines = []*orchionv1.LocalEngine{ollama} })
		if got := (<-s.Said).GetEnginesChanged().GetEngines(); len(got) != 1 || got[0].GetName() != "ollama" {
			t.Errorf("engines = %v, want the one that appeared", got)
		}
		// A registration carries them too.
		tr.far.Fail("Heartbeat", status.Error(codes.NotFound, "unknown"))
		time.Sleep(1100 * time.Millisecond)
		tr.far.Fail("Heartbeat", nil)
		synctest.Wait()
		nodes := tr.far.Registered()
		if got := nodes[len(nodes)-1].GetNode().GetCapabilities().GetEngines(); len(got) != 1 {
			t.Errorf("registered again with engines %v", got)
		}
		tr.machine.set(func() { tr.machine.engines = nil })
		if got := <-s.Said; got.GetEnginesChanged() == nil || len(got.GetEnginesChanged().GetEngines()) != 0 {
			t.Errorf("said %v, want that no engine is left", got)
		}
	})
}

func TestDataDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "data")
	first, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = openDataDir(path)
	if want := "the data directory " + path + " is in use by another node agent"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q", err, want)
	}
	id, err := first.nodeID("")
	if err != nil || len(id) != 36 {
		t.Fatalf("id = %q, %v, want a UUID", id, err)
	}
	first.close()

	second, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	for _, step := range []struct{ wish, want string }{{"", id}, {"mine", "mine"}, {"", "mine"}, {"mine", "mine"}} {
		if got, err := second.nodeID(step.wish); err != nil || got != step.want {
			t.Errorf("id for the wish %q = %q, %v, want %q", step.wish, got, err, step.want)
		}
	}
	if err := os.WriteFile(filepath.Join(path, idFile), []byte("no id!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := second.nodeID(""); err == nil || !strings.Contains(err.Error(), "which is no node id; remove the file") {
		t.Errorf("error = %v, want what to do", err)
	}
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name   string
		change func(*Config)
		flag   string // empty: right
		want   string
	}{
		{"defaults", func(*Config) {}, "", ""},
		{"no port", func(c *Config) { c.Orchestrator = "localhost" }, "", ""},
		{"IPv6", func(c *Config) { c.Orchestrator = "[::1]:1234" }, "", ""},
		{"a URL", func(c *Config) { c.Orchestrator = "http://localhost:8080" }, "orchestrator", "without a scheme"},
		{"bad port", func(c *Config) { c.Orchestrator = "localhost:99999" }, "orchestrator", "it must be host:port"},
		{"empty", func(c *Config) { c.Orchestrator = "" }, "orchestrator", "it must be host:port"},
		{"another machine", func(c *Config) { c.Orchestrator = "10.1.2.3:50051" }, "orchestrator", "ssh -N -L 50051:localhost:50051 user@10.1.2.3"},
		{"another name", func(c *Config) { c.Orchestrator = "big.lan" }, "orchestrator", "only loopback is accepted"},
		{"too quick", func(c *Config) { c.HeartbeatInterval = time.Millisecond }, "heartbeat-interval", "is 1ms; it must be between 1s and 10m0s"},
		{"too patient", func(c *Config) { c.ShutdownTimeout = time.Hour }, "shutdown-timeout", "is 1h0m0s; it must be between 1s and 10m0s"},
		{"node id", func(c *Config) { c.NodeID = "-x" }, "node-id", "starting with a letter or digit"},
		{"hostname", func(c *Config) { c.Hostname = "a b" }, "hostname", `is "a b"`},
		{"no data directory", func(c *Config) { c.DataDir = "" }, "data-dir", "name a folder"},
		{"runtime", func(c *Config) { c.Runtime = "lxc" }, "runtime", "must be one of auto, podman, docker, none"},
		{"networks", func(c *Config) { c.ReadyNetworks = 65 }, "ready-networks", "is 65; it must be between 0 and 64, 0 meaning none"},
		{"jobs", func(c *Config) { c.MaxJobs = -1 }, "max-jobs", "is -1; it must be between 0 and 10000"},
		{"log rate", func(c *Config) { c.LogRate = 1000 }, "log-rate", "is 1000; it must be between 65536 and 1073741824, or 0 for no limit"},
		{"log buffer", func(c *Config) { c.LogBuffer = 1000 }, "log-buffer", "is 1000; it must be between 1048576 and 1099511627776"},
		{"label key", func(c *Config) { c.Labels = map[string]string{"a b": "c"} }, "labels", `has the key "a b"`},
		{"label value", func(c *Config) { c.Labels = map[string]string{"a": long} }, "labels", "has a value of a that is too long"},
		{"adopt", func(c *Config) { c.Adopt = []string{"localhost:11434"} }, "adopt", "a URL such as http://127.0.0.1:11434"},
		{"adopt none and more", func(c *Config) { c.Adopt = []string{"none", "http://127.0.0.1:1"} }, "adopt", "give one or the other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.DataDir = t.TempDir()
			c.change(&cfg)
			_, err := New(cfg)
			if c.flag == "" {
				if err != nil {
					t.Fatalf("error = %v", err)
				}
				return
			}
			var wrong *SettingError
			if !errors.As(err, &wrong) || wrong.Flag != c.flag || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "--"+c.flag+" ") {
				t.Errorf("error = %v, want one of --%s with %q", err, c.flag, c.want)
			}
		})
	}
}
