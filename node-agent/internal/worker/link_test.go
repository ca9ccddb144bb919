package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// links notes what becomes of the links that it makes; each is a container of its own.
type links struct {
	bed *bed

	mu   sync.Mutex // guards what follows
	fail error
	did  []string
	kept []string // jobs whose links the last Reap was told to keep, of a and b
}

type link struct {
	links     *links
	forwarder string
}

func (l *links) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did = append(l.did, what)
}

func (l *links) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.did, " ")
}

func (l *links) Open(ctx context.Context, jobID string, attempt int) (Link, error) {
	if l.fail != nil {
		return nil, l.fail
	}
	name := fmt.Sprintf("link-%s-%d", jobID, attempt)
	if _, err := l.bed.engine.Inspect(ctx, name); err != nil {
		spec := driver.JobSpec("stubborn:1")
		spec.Name = name
		id, err := l.bed.engine.Create(ctx, spec)
		if err != nil {
			return nil, err
		}
		if err := l.bed.engine.Start(ctx, id); err != nil {
			return nil, err
		}
	}
	l.note("open")
	return &link{l, name}, nil
}

func (l *links) Reap(_ context.Context, keep func(string, int) bool) error {
	var kept []string
	for _, job := range []string{"a", "b"} {
		if keep(job, 1) {
			kept = append(kept, job)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = kept
	return nil
}

func (l *link) Network() driver.NetworkMode { return driver.NetworkOf(l.forwarder) }
func (l *link) BaseURL() string             { return "http://127.0.0.1:11435/v1" }
func (l *link) Key() string                 { return "orchion-job" }
func (l *link) Detach()                     { l.links.note("detach") }

func (l *link) Close(ctx context.Context) error {
	list, err := l.links.bed.engine.List(ctx, map[string]string{"orchion.role": "job"})
	if err == nil && len(list) > 0 {
		l.links.note("close-too-early")
	}
	l.links.note("close")
	return errors.Join(err, l.links.bed.engine.Remove(ctx, l.forwarder))
}

func newLinkBed(t *testing.T) (*bed, *links) {
	t.Helper()
	l := &links{}
	l.bed = newBed(t, func(c *Config) { c.Links = l })
	return l.bed, l
}

func withModels(assignment *orchionv1.JobAssignment, env map[string]string) *orchionv1.JobAssignment {
	assignment.Spec.GetContainer().Models = []string{"tiny"}
	assignment.Spec.GetContainer().Env = env
	return assignment
}

func TestJobWithModelsIsLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := newLinkBed(t)
		defer b.close()
		job := withModels(container("a", "printenv:1", "OPENAI_BASE_URL", "OPENAI_API_KEY", "EXTRA", "ORCHION_NODE_ID", "ORCHION_ARRAY_ID", "ORCHION_ARRAY_INDEX", "ORCHION_ARRAY_COUNT"), map[string]string{"EXTRA": "mine", "ORCHION_NODE_ID": "forged"})
		job.ArrayId, job.ArrayIndex, job.ArrayCount = "array-a", 2, 7
		b.assign(job)
		b.live(time.Second)
		want := "OPENAI_BASE_URL=http://127.0.0.1:11435/v1\nOPENAI_API_KEY=orchion-job\nEXTRA=mine\nORCHION_NODE_ID=node-1\nORCHION_ARRAY_ID=array-a\nORCHION_ARRAY_INDEX=2\nORCHION_ARRAY_COUNT=7\nnetwork=container:link-a-1"
		if got := b.far.last("a").GetOutput(); got != want {
			t.Errorf("the job sees\n%s\nwant\n%s", got, want)
		}
		b.acknowledge("a")
		if got := l.all(); got != "open close" {
			t.Errorf("the link: %s, want it closed once the container is gone", got)
		}
		if got := len(b.containers()); got != 0 {
			t.Errorf("%d containers are left", got)
		}
	})
}

func TestLinkIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := newLinkBed(t)
		defer b.close()
		job := withModels(container("a", "work:1", "20", "0"), nil)
		b.assign(job)
		b.live(time.Second)
		b.restart()
		b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
		b.live(30 * time.Second)
		b.acknowledge("a")
		if got := l.all(); got != "open detach open close" {
			t.Errorf("the link: %s", got)
		}
		if strings.Join(l.kept, "") != "a" {
			t.Errorf("kept the links of %v, want a's alone", l.kept)
		}
	})
}

func TestLinkThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := newLinkBed(t)
		defer b.close()
		l.fail = errors.New("no image for the forwarder")
		b.assign(withModels(container("a", "work:1", "20", "0"), nil))
		b.live(time.Second)
		if got := b.far.last("a").GetReason(); got != "connect the job with the gateway: no image for the forwarder" {
			t.Errorf("reason = %q", got)
		}
	})
}

func TestContainerRemovedBySomeoneElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.assign(container("a", "work:1", "600", "0"))
		b.live(time.Second)
		if err := b.engine.Remove(t.Context(), b.containers()[0].ID); err != nil {
			t.Fatal(err)
		}
		b.live(10 * time.Second)
		if end := b.far.last("a"); end.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_FAILED || end.GetOutput() != "begin a 1" {
			t.Errorf("end = %v, want FAILED with what was read of the output", end)
		}
		b.acknowledge("a")
		if got := len(b.Held().GetAttempts()); got != 0 {
			t.Errorf("%d attempts are still held", got)
		}
	})
}
