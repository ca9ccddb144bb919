package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = 30 * time.Second

// orchestrator is the far side of a worker: it notes what is reported and takes logs.
type orchestrator struct {
	mu       sync.Mutex // guards what follows
	attempts []*orchionv1.AttemptStatus
	replicas []*orchionv1.ReplicaStatus
	logs     map[string][]session.Line
	holdLogs chan struct{} // when not nil, logs are complete only once it is closed
}

func (o *orchestrator) ReportAttempt(s *orchionv1.AttemptStatus) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempts = append(o.attempts, s)
}

func (o *orchestrator) ReportReplica(s *orchionv1.ReplicaStatus) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replicas = append(o.replicas, s)
}

func (o *orchestrator) Push(ctx context.Context, ref *orchionv1.AttemptRef, source session.LogSource) error {
	var lines []session.Line
	err := source(ctx, func(l session.Line) error {
		if lines = append(lines, l); l.Again {
			lines = nil
		}
		return nil
	})
	if err == nil && o.holdLogs != nil {
		select {
		case <-o.holdLogs:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.logs[ref.GetJobId()] = lines
	return err
}

// last gives the last status of a job; nil when there is none.
func (o *orchestrator) last(job string) *orchionv1.AttemptStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.attempts) - 1; i >= 0; i-- {
		if o.attempts[i].GetRef().GetJobId() == job {
			return o.attempts[i]
		}
	}
	return nil
}

// states gives the states that a job went through, each once.
func (o *orchestrator) states(job string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var states []string
	for _, s := range o.attempts {
		name := strings.TrimPrefix(s.GetState().String(), "ATTEMPT_STATE_")
		if s.GetRef().GetJobId() == job && (len(states) == 0 || states[len(states)-1] != name) {
			states = append(states, name)
		}
	}
	return strings.Join(states, " ")
}

func (o *orchestrator) reasons(job string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var reasons []string
	for _, s := range o.attempts {
		if s.GetRef().GetJobId() == job {
			reasons = append(reasons, s.GetReason())
		}
	}
	return strings.Join(reasons, "; ")
}

// bed is a worker on a fake engine.
type bed struct {
	t      *testing.T
	engine *fake.Driver
	far    *orchestrator
	cfg    Config
	*Worker
}

func programs() map[string]fake.Program {
	return map[string]fake.Program{
		// work SECONDS CODE: prints, works, ends.
		"/work": func(p *fake.Process) int {
			var seconds, code int
			fmt.Sscan(strings.Join(p.Args(), " "), &seconds, &code)
			fmt.Fprintln(p.Stdout(), "begin", p.Getenv("ORCHION_JOB_ID"), p.Getenv("ORCHION_ATTEMPT"))
			if !p.Sleep(time.Duration(seconds) * time.Second) {
				fmt.Fprintln(p.Stderr(), "asked to stop")
				return 143
			}
			fmt.Fprintln(p.Stdout(), "end")
			return code
		},
		"/printenv": func(p *fake.Process) int {
			for _, name := range p.Args() {
				fmt.Fprintf(p.Stdout(), "%s=%s\n", name, p.Getenv(name))
			}
			fmt.Fprintf(p.Stdout(), "network=%s\n", p.Spec().Network)
			return 0
		},
		"/stubborn": func(p *fake.Process) int { <-p.Context().Done(); return 0 },
		"/greedy":   func(p *fake.Process) int { p.Allocate(1 << 30); <-p.Context().Done(); return 0 },
	}
}

func newBed(t *testing.T, change func(*Config)) *bed {
	t.Helper()
	engine := fake.New(fake.Options{Programs: programs()})
	engine.AddImage("work:1", fake.Image{Entrypoint: []string{"/work"}})
	engine.AddImage("stubborn:1", fake.Image{Entrypoint: []string{"/stubborn"}})
	engine.AddImage("printenv:1", fake.Image{Entrypoint: []string{"/printenv"}})
	engine.AddImage("greedy:1", fake.Image{Entrypoint: []string{"/greedy"}})
	b := &bed{t: t, engine: engine, far: &orchestrator{logs: map[string][]session.Line{}}}
	b.cfg = Config{NodeID: "node-1", Driver: engine, Report: b.far, Logs: b.far, MaxContainers: 8, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&b.cfg)
	}
	b.restart()
	return b
}

// restart is the next run of the agent, on what the last one left.
func (b *bed) restart() {
	b.t.Helper()
	if b.Worker != nil {
		b.Stop()
	}
	b.Worker = New(b.cfg)
	if err := b.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) close() {
	b.Stop()
	b.Stop() // may be called twice
	if err := b.engine.Close(); err != nil {
		b.t.Error(err)
	}
}

func ref(job string) *orchionv1.AttemptRef { return &orchionv1.AttemptRef{JobId: job, Attempt: 1} }

// container is an assignment of a container job.
func container(job, image string, args ...string) *orchionv1.JobAssignment {
	return &orchionv1.JobAssignment{
		Ref: ref(job), Name: "name of " + job, LeaseTtl: durationpb.New(ttl),
		Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: image, Args: args}}},
	}
}

// assign assigns and renews, as an orchestrator at hand does.
func (b *bed) assign(assignments ...*orchionv1.JobAssignment) {
	for _, a := range assignments {
		b.AssignJob(a)
	}
	b.renew()
	synctest.Wait()
}

func (b *bed) renew() {
	b.LeasesRenewed(&orchionv1.LeasesRenewed{LeaseTtl: durationpb.New(ttl), Renewed: b.Leases()}, time.Now())
}

// live lets time pass with leases renewed.
func (b *bed) live(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		b.renew()
		time.Sleep(min(time.Until(end), ttl/3))
	}
	synctest.Wait()
}

func (b *bed) containers() []driver.Container {
	b.t.Helper()
	list, err := b.engine.List(b.t.Context(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *bed) acknowledge(job string) {
	b.AttemptAcknowledged(&orchionv1.AttemptAcknowledged{Ref: ref(job), Accepted: true})
	synctest.Wait()
}

func TestRunsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		job := container("a", "work:1", "5", "0")
		job.Spec.GetContainer().Env = map[string]string{"ORCHION_JOB_ID": "forged", "MINE": "yes"}
		b.assign(job)
		b.assign(job) // twice is once
		if got := b.Running(); got != 1 {
			t.Errorf("%d attempts run, want 1", got)
		}
		list := b.containers()
		if len(list) != 1 {
			t.Fatalf("%d containers, want 1", len(list))
		}
		for key, want := range map[string]string{"orchion.node": "node-1", "orchion.job": "a", "orchion.attempt": "1", "orchion.role": "job"} {
			if got := list[0].Labels[key]; got != want {
				t.Errorf("label %s = %q, want %q", key, got, want)
			}
		}
		b.live(6 * time.Second)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING SUCCEEDED" {
			t.Errorf("states = %s", got)
		}
		end := b.far.last("a")
		if end.ExitCode == nil || end.GetExitCode() != 0 || end.GetOutput() != "begin a 1\nend" {
			t.Errorf("end = %v, want exit code 0 and the output", end)
		}
		if took := end.GetFinishedAt().AsTime().Sub(end.GetStartedAt().AsTime()); took != 5*time.Second {
			t.Errorf("took %v, want 5s", took)
		}
		if got := b.Running(); got != 0 {
			t.Errorf("%d attempts run after the end, want 0", got)
		}
		if got := len(b.containers()); got != 1 {
			t.Errorf("%d containers before the acknowledgement, want 1: it is the record of the attempt", got)
		}
		if got := len(b.Held().GetAttempts()); got != 1 {
			t.Errorf("%d attempts held before the acknowledgement, want 1", got)
		}
		b.acknowledge("a")
		if got := len(b.containers()); got != 0 {
			t.Errorf("%d containers after the acknowledgement, want none", got)
		}
		if got := len(b.Held().GetAttempts()) + len(b.Leases()); got != 0 {
			t.Errorf("still held after the acknowledgement: %v", b.Held())
		}
	})
}

// missesOOM is an engine that says of no container that it was killed for its memory, only
// of those with a limit that they may have been.
type missesOOM struct{ driver.Driver }

func (d missesOOM) Wait(ctx context.Context, id string) (driver.Exit, error) {
	exit, err := d.Driver.Wait(ctx, id)
	exit.OOMKilled, exit.MaybeOOM = false, exit.Code == 137
	return exit, err
}

// goneEngine is an engine that is out of reach.
type goneEngine struct{ driver.Driver }

func (goneEngine) EnsureImage(context.Context, string, driver.Pull, func(driver.PullProgress)) error {
	return &driver.Error{Code: driver.CodeUnavailable, Op: "find image", Err: errors.New("connection refused")}
}

// fullDisk is an engine without space for another container.
type fullDisk struct{ driver.Driver }

func (fullDisk) Create(context.Context, driver.ContainerSpec) (string, error) {
	return "", &driver.Error{Code: driver.CodeNoSpace, Op: "create container", Err: errors.New("no space left on device")}
}

func TestEndings(t *testing.T) {
	withTimeout := container("x", "work:1", "60", "0")
	withTimeout.Spec.Timeout = durationpb.New(3 * time.Second)
	limited := container("x", "greedy:1")
	limited.Spec.Resources = &orchionv1.Resources{MemoryBytes: 64 << 20}
	never := container("x", "elsewhere:1")
	never.Spec.GetContainer().PullPolicy = orchionv1.PullPolicy_PULL_POLICY_NEVER
	tiny := container("x", "work:1")
	tiny.Spec.Resources = &orchionv1.Resources{MemoryBytes: 1}
	models := container("x", "work:1")
	models.Spec.GetContainer().Models = []string{"m"}
	nothing := container("x", "work:1")
	nothing.Spec.GetContainer().Command = []string{"/nothing"}
	killed := container("x", "killed:1")
	killed.Spec.Resources = limited.Spec.Resources
	maybeOOM := func(c *Config) { c.Driver = missesOOM{c.Driver} }
	for _, c := range []struct {
		name   string
		job    *orchionv1.JobAssignment
		change func(*Config)
		states string
		reason string
		code   int32 // -1: none
		class  string
	}{
		{"a code of its own", container("x", "work:1", "1", "3"), nil, "ASSIGNED RUNNING FAILED", "the container ended with exit code 3", 3, "EXIT_CODE"},
		{"too slow", withTimeout, nil, "ASSIGNED RUNNING FAILED", "timed out after 3s", 143, "TIMEOUT"},
		{"too much memory", limited, nil, "ASSIGNED RUNNING FAILED", "limit of 67108864 bytes: raise resources.memoryBytes", 137, "OUT_OF_MEMORY"},
		{"no such image", container("x", "elsewhere:1"), nil, "FAILED", "docker: pull image elsewhere:1: manifest unknown", -1, "IMAGE"},
		{"image not there", never, nil, "FAILED", "docker: pull image elsewhere:1: the image is not on this machine", -1, "IMAGE"},
		{"bad resources", tiny, nil, "ASSIGNED FAILED", "resources.memoryBytes: 1: must be 0 (no limit) or at least", -1, "INVALID"},
		{"no engine", container("x", "work:1"), func(c *Config) { c.Driver = nil }, "FAILED", "this node has no container engine", -1, "ENGINE"},
		{"no way to models", models, nil, "FAILED", "this node cannot connect jobs with models", -1, "NODE"},
		{"unknown kind", &orchionv1.JobAssignment{Ref: ref("x"), Spec: &orchionv1.JobSpec{}}, nil, "FAILED", "does not know this kind of job", -1, "NODE"},
		{"registry out of reach", container("x", "away:1"), nil, "ASSIGNED FAILED", "no route to host", -1, "IMAGE_UNAVAILABLE"},
		{"no such command", nothing, nil, "ASSIGNED FAILED", "executable file not found", -1, "INVALID"},
		{"killed at its limit, on an engine that does not say why", killed, maybeOOM, "ASSIGNED RUNNING FAILED", "limit of 67108864 bytes", 137, "OUT_OF_MEMORY"},
		{"killed by somebody", container("x", "killed:1"), nil, "ASSIGNED RUNNING FAILED", "the container ended with exit code 137", 137, "EXIT_CODE"},
		{"engine away", container("x", "work:1"), func(c *Config) { c.Driver = goneEngine{c.Driver} }, "FAILED", "connection refused", -1, "ENGINE"},
		{"disk full", container("x", "work:1"), func(c *Config) { c.Driver = fullDisk{c.Driver} }, "ASSIGNED FAILED", "no space left", -1, "NODE"},
		{"no gateway", chatJob("x"), nil, "FAILED", "this node cannot reach the gateway", -1, "NODE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, c.change)
				defer b.close()
				b.engine.AddImage("killed:1", fake.Image{Entrypoint: []string{"/work"}, Cmd: []string{"1", "137"}})
				b.engine.AddRemoteImage("away:1", fake.RemoteImage{Steps: 2, Err: errors.New("no route to host")})
				b.assign(c.job)
				b.live(20 * time.Second)
				if got := b.far.states("x"); got != c.states {
					t.Errorf("states = %s, want %s", got, c.states)
				}
				end := b.far.last("x")
				if !strings.Contains(end.GetReason(), c.reason) {
					t.Errorf("reason = %q, want it to hold %q", end.GetReason(), c.reason)
				}
				if code := end.ExitCode; (code == nil) != (c.code < 0) || (code != nil && *code != c.code) {
					t.Errorf("exit code = %v, want %d", code, c.code)
				}
				if got := strings.TrimPrefix(end.GetFailure().String(), "FAILURE_CLASS_"); got != c.class {
					t.Errorf("class = %s, want %s", got, c.class)
				}
				b.acknowledge("x")
				if c.change == nil && len(b.containers()) != 0 {
					t.Error("the container is still there after the acknowledgement")
				}
			})
		})
	}
}

func TestPullProgressIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.engine.AddRemoteImage("far:1", fake.RemoteImage{Image: fake.Image{Entrypoint: []string{"/work"}}, SizeBytes: 1000, Steps: 4, Step: time.Second})
		b.assign(container("a", "far:1", "0", "0"))
		b.live(10 * time.Second)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING SUCCEEDED" {
			t.Errorf("states = %s", got)
		}
		if got := b.far.reasons("a"); !strings.Contains(got, "pulling image far:1, 49 %") {
			t.Errorf("reasons = %s, want the progress of the pull", got)
		}
	})
}

func TestTriesAgainWhatIsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.engine.SetDown(errors.New("engine restarts"))
		b.assign(container("a", "work:1", "60", "0"))
		time.Sleep(2 * time.Second)
		b.engine.SetDown(nil)
		b.live(5 * time.Second)
		if got := b.Running(); got != 1 {
			t.Fatalf("%d attempts run after the engine came back, want 1: %s", got, b.far.reasons("a"))
		}
		// Away while the job runs.
		b.engine.SetDown(errors.New("engine restarts"))
		b.live(90 * time.Second)
		b.engine.SetDown(nil)
		b.live(15 * time.Second)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING SUCCEEDED" {
			t.Errorf("states = %s: %s", got, b.far.reasons("a"))
		}
		if got := b.far.last("a").GetOutput(); got != "begin a 1\nend" {
			t.Errorf("output = %q", got)
		}
	})
}

func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name   string
		job    *orchionv1.JobAssignment
		after  time.Duration // of the cancellation, when it has ended
		states string
		reason string
	}{
		{"asked", container("x", "work:1", "600", "0"), 0, "ASSIGNED RUNNING CANCELLED", "its container ended with exit code 143"},
		{"killed after the grace", container("x", "stubborn:1"), 4 * time.Second, "ASSIGNED RUNNING CANCELLED", "its container ended with exit code 137"},
		{"while pulling", container("x", "slow:1"), 0, "CANCELLED", "before it was started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				defer b.close()
				b.engine.AddRemoteImage("slow:1", fake.RemoteImage{SizeBytes: 1, Steps: 100, Step: time.Minute})
				b.assign(c.job)
				b.live(time.Second)
				cancel := &orchionv1.CancelAttempt{Ref: ref("x"), Grace: durationpb.New(4 * time.Second), Reason: "no longer wanted"}
				b.CancelAttempt(cancel)
				b.CancelAttempt(cancel)
				if c.after > 0 {
					time.Sleep(c.after - time.Millisecond)
					synctest.Wait()
					if got := b.far.states("x"); strings.Contains(got, "CANCELLED") {
						t.Errorf("ended before the grace was over: %s", got)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := b.far.states("x"); got != c.states {
					t.Errorf("states = %s, want %s", got, c.states)
				}
				if got := b.far.last("x").GetReason(); got != c.reason {
					t.Errorf("reason = %q, want %q", got, c.reason)
				}
			})
		})
	}
}

func TestEndIsToldOnlyWithTheWholeLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.far.holdLogs = make(chan struct{})
		b.assign(container("a", "work:1", "1", "0"))
		b.live(time.Minute)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
			t.Errorf("states while the log is under way = %s", got)
		}
		// The node goes on holding the attempt, however long that takes.
		if got := len(b.Leases()); got != 1 {
			t.Errorf("%d leases are renewed, want 1", got)
		}
		close(b.far.holdLogs)
		synctest.Wait()
		if got := b.far.states("a"); got != "ASSIGNED RUNNING SUCCEEDED" {
			t.Errorf("states = %s", got)
		}
	})
}

func TestWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, func(c *Config) { c.MaxContainers = 2 })
		defer b.close()
		b.assign(container("a", "work:1", "10", "0"), container("b", "work:1", "20", "0"), container("c", "work:1", "15", "0"))
		b.live(time.Second)
		waiting := 0
		for _, job := range []string{"a", "b", "c"} {
			if s := b.far.last(job); s.GetReason() == "waiting: this node runs 2 jobs already" {
				waiting++
			}
		}
		if got := b.Running(); got != 2 || waiting != 1 {
			t.Errorf("%d run and %d wait, want 2 and 1", got, waiting)
		}
		b.live(40 * time.Second)
		for _, job := range []string{"a", "b", "c"} {
			if got := b.far.states(job); got != "ASSIGNED RUNNING SUCCEEDED" {
				t.Errorf("states of %s = %s", job, got)
			}
		}
	})
}
