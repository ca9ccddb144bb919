package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// wantEnd checks how an attempt ended: "FAILED ENGINE", and a part of the reason.
func (b *bed) wantEnd(job, want, reason string) {
	b.t.Helper()
	end := b.far.last(job)
	got := strings.TrimPrefix(end.GetState().String(), "ATTEMPT_STATE_")
	if class := end.GetFailure(); class != 0 {
		got += " " + strings.TrimPrefix(class.String(), "FAILURE_CLASS_")
	}
	if got != want || !strings.Contains(end.GetReason(), reason) {
		b.t.Errorf("ended %s, %q; want %s, %q", got, end.GetReason(), want, reason)
	}
}

func impatient(c *Config) { c.Driver = driver.Impatient(c.Driver) }

func TestStartTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.engine.AddRemoteImage("slow:1", fake.RemoteImage{SizeBytes: 1000, Steps: 100, Step: time.Minute})
		job := container("a", "slow:1")
		job.Spec.StartTimeout = durationpb.New(10*time.Minute + time.Second)
		b.assign(job, container("b", "slow:1"))
		b.live(11 * time.Minute)
		b.wantEnd("a", "FAILED START", "not running after 10m1s: pulling image slow:1, 9 %")
		b.live(50 * time.Minute)
		b.wantEnd("b", "FAILED START", "not running after 1h0m0s: pulling image slow:1, 5")
	})
	t.Run("waiting for a slot is not starting, and running is over it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, func(c *Config) { c.MaxContainers = 1 })
			defer b.close()
			for _, name := range []string{"a", "b"} {
				job := container(name, "work:1", "60", "0")
				job.Spec.StartTimeout = durationpb.New(5 * time.Second)
				b.assign(job)
			}
			b.live(3 * time.Minute)
			for _, name := range []string{"a", "b"} {
				if got := b.far.states(name); got != "ASSIGNED RUNNING SUCCEEDED" {
					t.Errorf("states of %s = %s: %s", name, got, b.far.reasons(name))
				}
			}
		})
	})
}

// An engine that hangs while a job is to be started costs the attempt, at once and not the
// job, and is tidied up when it is back.
func TestEngineHangsAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, impatient)
		defer b.close()
		b.engine.SetHanging(true)
		b.assign(container("a", "work:1", "60", "0"))
		b.live(29 * time.Second)
		if got := b.far.states("a"); got != "" {
			t.Errorf("states = %s before the engine had its time", got)
		}
		b.live(20 * time.Second)
		b.wantEnd("a", "FAILED ENGINE", "the container engine has not answered for 30s")
	})
}

// startsLate starts a container although it took too long to answer.
type startsLate struct{ *fake.Driver }

func (d startsLate) Start(ctx context.Context, id string) error {
	if err := d.Driver.Start(ctx, id); err != nil {
		return err
	}
	d.SetHanging(true)
	<-ctx.Done()
	return ctx.Err()
}

func TestEngineHangsWithTheStartDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.cfg.Driver = driver.Impatient(startsLate{b.engine})
		b.restart()
		b.assign(container("a", "work:1", "6000", "0"))
		b.live(2*time.Minute + quickRemoval + 2*time.Second)
		b.wantEnd("a", "FAILED ENGINE", "the container engine has not answered for 2m0s")
		b.acknowledge("a")
		// It runs on, which the node knows, and is removed as soon as that can be.
		b.engine.SetHanging(false)
		b.live(3 * time.Minute)
		if list := b.containers(); len(list) != 0 {
			t.Errorf("containers after the engine came back: %v", list)
		}
	})
}

// A job that is to be stopped does not wait for an engine that hangs for ever.
func TestEngineHangsAtTheStop(t *testing.T) {
	for _, c := range []struct {
		name, want, reason string
		timeout            time.Duration
	}{
		{"cancelled", "FAILED ENGINE", "its container could not be stopped: the container engine does not answer", 0},
		{"out of time", "FAILED TIMEOUT", "timed out after 1m0s; its container could not be stopped", time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, impatient)
				defer b.close()
				job := container("a", "work:1", "6000", "0")
				if c.timeout > 0 {
					job.Spec.Timeout = durationpb.New(c.timeout)
				}
				b.assign(job)
				b.live(time.Second)
				b.engine.SetHanging(true)
				if c.timeout > 0 {
					b.live(c.timeout)
				} else {
					b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("a"), Grace: durationpb.New(10 * time.Second)})
				}
				b.live(stopPatience)
				if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
					t.Errorf("states = %s while the engine may still come back", got)
				}
				b.live(20 * time.Second)
				b.wantEnd("a", c.want, c.reason)
				b.engine.SetHanging(false)
				b.live(3 * time.Minute)
				if list := b.containers(); len(list) != 0 {
					t.Errorf("containers after the engine came back, unacknowledged: %v", list)
				}
				b.acknowledge("a")
				if got := len(b.Held().GetAttempts()); got != 0 {
					t.Errorf("%d attempts are held", got)
				}
			})
		})
	}
}

// slowCreates makes containers slowly, and whoever does not wait gets one all the same.
type slowCreates struct{ *fake.Driver }

func (d slowCreates) Create(ctx context.Context, spec driver.ContainerSpec) (string, error) {
	made := make(chan struct{})
	var id string
	var err error
	time.AfterFunc(3*time.Second, func() {
		id, err = d.Driver.Create(context.Background(), spec)
		close(made)
	})
	select {
	case <-made:
		return id, err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// lostAnswers makes containers and says that it could not.
type lostAnswers struct{ *fake.Driver }

func (d lostAnswers) Create(ctx context.Context, spec driver.ContainerSpec) (string, error) {
	_, err := d.Driver.Create(ctx, spec)
	return "", errors.Join(err, errors.New("the answer was lost"))
}

// Whatever happens while a container is made, none is left.
func TestNothingIsLeftOfACreation(t *testing.T) {
	for _, c := range []struct {
		name   string
		driver func(*fake.Driver) driver.Driver
		stop   func(*bed)
		want   string
	}{
		{"cancelled", func(d *fake.Driver) driver.Driver { return slowCreates{d} }, func(b *bed) {
			b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("a")})
		}, "CANCELLED"},
		{"taken away", func(d *fake.Driver) driver.Driver { return slowCreates{d} }, func(b *bed) {
			b.LeasesRenewed(&orchionv1.LeasesRenewed{Lost: []*orchionv1.AttemptRef{ref("a")}}, time.Now())
		}, "ASSIGNED"},
		{"failed", func(d *fake.Driver) driver.Driver { return lostAnswers{d} }, func(*bed) {}, "FAILED START"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				defer b.close()
				b.cfg.Driver = c.driver(b.engine)
				b.restart()
				b.assign(container("a", "work:1", "600", "0"))
				time.Sleep(time.Second)
				c.stop(b)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				b.wantEnd("a", c.want, "")
				if list := b.containers(); len(list) != 0 {
					t.Errorf("containers are left: %v", list)
				}
			})
		})
	}
}

func TestGraceOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		job := container("a", "stubborn:1")
		job.Spec.Timeout = durationpb.New(time.Minute)
		job.Spec.GetContainer().StopGrace = durationpb.New(20 * time.Second)
		b.assign(job)
		b.live(79 * time.Second)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
			t.Errorf("states = %s within the grace", got)
		}
		b.live(2 * time.Second)
		b.wantEnd("a", "FAILED TIMEOUT", "timed out after 1m0s")
	})
}
