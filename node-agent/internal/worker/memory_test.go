package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// What jobs and models use counts as theirs as far as they declared it.
func TestMemoryAsDeclared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		declares := func(job, image string, bytes int64, args ...string) *orchionv1.JobAssignment {
			a := container(job, image, args...)
			a.Spec.Resources = &orchionv1.Resources{MemoryBytes: bytes}
			return a
		}
		want := func(what string, want int64) {
			t.Helper()
			synctest.Wait()
			if got := b.MemoryAsDeclared(t.Context()); got != want {
				t.Errorf("%s: %d bytes are used as declared, want %d", what, got, want)
			}
		}
		const used = 1 << 20 // by any container of the fake engine
		want("nothing runs", 0)
		b.assign(container("undeclared", "work:1", "60", "0"))
		want("nothing is declared", 0)
		b.assign(declares("more", "work:1", 64<<20, "20", "0"), declares("long", "work:1", 64<<20, "60", "0"))
		want("two declared more than they use", 2*used)
		time.Sleep(25 * time.Second)
		b.renew()
		want("one has ended", used)

		// An engine serves several models, and what they declared counts together.
		engine := driver.ContainerSpec{
			Name: "engine", Image: "work:1", Args: []string{"600", "0"},
			Labels: map[string]string{labelNode: "node-1", "orchion.engine": "ollama"},
		}
		id, err := b.engine.Create(t.Context(), engine)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.engine.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		want("an engine without declared models", used)
		for _, name := range []string{"m1", "m2"} {
			b.AssignReplica(&orchionv1.ReplicaAssignment{ReplicaId: name, Spec: &orchionv1.DeploymentSpec{
				Model: name, Resources: &orchionv1.Resources{MemoryBytes: used / 4},
			}})
		}
		want("two models that declared less than their engine uses", used+used/2)
	})
}
