package worker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// networks lends one network, that of a container of its own, and notes what becomes of it.
type networks struct {
	bed *bed

	mu    sync.Mutex // guards what follows
	ready string     // the id of the container; empty: nothing is ready
	did   []string
	kept  bool // the last Reap was told to keep the network
}

type lent struct {
	networks *networks
	id       string
}

func (n *networks) note(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did = append(n.did, what)
}

func (n *networks) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.did, " ")
}

func (n *networks) Lend(context.Context) Network {
	n.note("lend")
	return &lent{n, n.ready}
}

func (n *networks) TakeOver(id string) Network {
	n.note("take-over")
	return &lent{n, id}
}

func (n *networks) Reap(_ context.Context, keep func(string) bool) error {
	kept := keep(n.ready)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = kept
	return nil
}

func (l *lent) ID() string { return l.id }

func (l *lent) Ended(_ context.Context, again bool) {
	if again {
		l.networks.note("again")
	} else {
		l.networks.note("not-again")
	}
}

func (l *lent) Discard() {
	l.networks.note("discard")
	l.id = ""
}

func (l *lent) Close(ctx context.Context) error {
	list, err := l.networks.bed.engine.List(ctx, map[string]string{"orchion.role": "job"})
	if err == nil && len(list) > 0 {
		l.networks.note("close-too-early")
	}
	l.networks.note("close")
	return err
}

func newNetworkBed(t *testing.T) (*bed, *networks) {
	t.Helper()
	n := &networks{}
	n.bed = newBed(t, func(c *Config) { c.Networks = n })
	spec := driver.JobSpec("stubborn:1")
	spec.Name = "holder"
	id, err := n.bed.engine.Create(t.Context(), spec)
	if err == nil {
		err = n.bed.engine.Start(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.ready = id
	return n.bed, n
}

// jobContainer is the one container of a job that there is.
func (b *bed) jobContainer() driver.Container {
	b.t.Helper()
	list, err := b.engine.List(b.t.Context(), map[string]string{"orchion.role": "job"})
	if err != nil || len(list) != 1 {
		b.t.Fatalf("containers of jobs: %v, %v", list, err)
	}
	return list[0]
}

func TestJobIsLentANetwork(t *testing.T) {
	for _, tt := range []struct {
		name string
		job  func(*orchionv1.JobAssignment)
		want string
	}{
		{"alone", func(*orchionv1.JobAssignment) {}, "lend again close"},
		{"with a volume that others may have", func(j *orchionv1.JobAssignment) {
			j.Spec.GetContainer().Volumes = []*orchionv1.VolumeMount{{Name: "cache", Path: "/cache"}}
		}, "lend not-again close"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, n := newNetworkBed(t)
				defer b.close()
				job := container("a", "work:1", "600", "0")
				tt.job(job)
				b.assign(job)
				b.live(time.Second)
				if label := b.jobContainer().Labels[labelNetwork]; label != n.ready {
					t.Errorf("label of the network %q, want %q", label, n.ready)
				}
				b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("a")})
				b.live(time.Minute)
				b.acknowledge("a")
				if got := n.all(); got != tt.want {
					t.Errorf("the network: %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A network that has broken costs the job nothing, and the container runs once.
func TestJobGoesWithoutABrokenNetwork(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(*bed, *networks) error
	}{
		{"its holder has ended", func(b *bed, n *networks) error { return b.engine.Kill(b.t.Context(), n.ready) }},
		{"its holder is gone", func(b *bed, n *networks) error { return b.engine.Remove(b.t.Context(), n.ready) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, n := newNetworkBed(t)
				defer b.close()
				if err := tt.harm(b, n); err != nil {
					t.Fatal(err)
				}
				b.assign(container("a", "work:1", "600", "0"))
				b.live(time.Second)
				c := b.jobContainer()
				if c.State != driver.StateRunning || c.Labels[labelNetwork] != "" {
					t.Errorf("container %+v", c)
				}
				if got := n.all(); got != "lend discard" {
					t.Errorf("the network: %s", got)
				}
			})
		})
	}
}

func TestNetworkIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newNetworkBed(t)
		job := container("a", "work:1", "600", "0")
		b.assign(job)
		b.live(time.Second)
		b.restart()
		defer b.close()
		b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
		b.live(time.Second)
		if !n.kept {
			t.Error("the network of a job that runs is not kept")
		}
		b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("a")})
		b.live(time.Minute)
		b.acknowledge("a")
		if got := n.all(); got != "lend take-over again close" {
			t.Errorf("the network: %s", got)
		}
	})
}

// keepsJobs does not remove containers of jobs, and will not.
type keepsJobs struct{ *fake.Driver }

func (d keepsJobs) Remove(ctx context.Context, id string) error {
	c, err := d.Inspect(ctx, id)
	if err == nil && c.Labels["orchion.role"] == "job" {
		return &driver.Error{Code: driver.CodeInternal, Op: "remove container", Err: errors.New("device or resource busy")}
	}
	return d.Driver.Remove(ctx, id)
}

// A network is not taken from a container that could not be removed.
func TestNetworkStaysWithItsContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newNetworkBed(t)
		defer b.close()
		b.cfg.Driver = keepsJobs{b.engine}
		b.restart()
		b.assign(container("a", "work:1", "1", "0"))
		b.live(time.Minute)
		b.acknowledge("a")
		b.jobContainer()
		if got := n.all(); got != "lend again" {
			t.Errorf("the network: %s, want it left alone", got)
		}
	})
}
