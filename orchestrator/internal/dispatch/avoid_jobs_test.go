package dispatch

import (
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// Jobs that avoid each other get nodes of their own, those that were submitted
// at once too, and the last waits until one has ended.
func TestJobsThatAvoidEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		db := func(j *job.Job) {
			j.Labels = map[string]string{"app": "db", "name": j.Name}
			j.Spec.AvoidJobs = "app=db"
		}
		first, err := r.d.SubmitArray(t.Context(), job.Job{
			Name: "db", Labels: map[string]string{"app": "db"},
			Spec: job.Spec{Container: &job.Container{Image: "db"}, AvoidJobs: "app=db"},
		}, 2)
		if err != nil {
			t.Fatal(err)
		}
		a, b := r.node("a", 4), r.node("b", 4)
		refs := []job.Ref{a.assigned(), b.assigned()}
		last := r.submit("last", db)
		r.want(last.ID, "queued []")
		summary, fits, err := r.d.Explain(t.Context(), last.ID)
		if err != nil {
			t.Fatal(err)
		}
		if want := "holds job " + first.ID + ", which this job avoids by app=db"; !strings.HasPrefix(summary, "none of the 2 nodes can take it: ") || !strings.Contains(summary, want) {
			t.Errorf("explained by %q", summary)
		}
		if len(fits) != 2 || fits[0].Fits || fits[1].Fits {
			t.Errorf("fits are %v", fits)
		}
		// Others go beside them.
		web := r.submit("web")
		r.want(web.ID, "assigned [a assigned]")
		a.received()
		b.says(refs[1], job.AttemptSucceeded, "")
		r.want(last.ID, "assigned [b assigned]")

		// What is held over a restart is avoided as before.
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		r.d.NodeChanged(nil, b.n)
		a.connect(AttemptStatus{Ref: refs[0], State: job.AttemptRunning}, AttemptStatus{Ref: job.Ref{JobID: web.ID, Attempt: 1}, State: job.AttemptRunning})
		b.connect(AttemptStatus{Ref: job.Ref{JobID: last.ID, Attempt: 1}, State: job.AttemptRunning})
		third := r.submit("third", db)
		r.want(third.ID, "queued []")
		a.says(refs[0], job.AttemptSucceeded, "")
		r.want(third.ID, "assigned [a assigned]")
	})
}

// What jobs like does not part them into classes, and is forgotten with them.
func TestWantsAreShared(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		likes := func(room string) func(*job.Job) {
			return func(j *job.Job) {
				j.Spec.Container.Image = "same"
				j.Spec.Affinities = []job.Affinity{{Constraint: "label.room=" + room, Weight: 50}}
			}
		}
		r.submit("1", likes("lab"))
		r.submit("2", likes("lab"))
		r.submit("3", likes("attic"), func(j *job.Job) { j.Spec.Placement = job.BinPack })
		r.submit("4")
		if classes, wants := len(r.d.queue.classes), len(r.d.queue.wants); classes != 1 || wants != 3 {
			t.Errorf("%d classes and %d wants, want 1 and 3", classes, wants)
		}
		attic := r.register("attic", 4)
		attic.n.Labels = map[string]string{"room": "attic"}
		lab := r.register("lab", 4)
		lab.n.Labels = map[string]string{"room": "lab"}
		lab.connect()
		attic.connect()
		if wants := len(r.d.queue.wants); wants != 0 {
			t.Errorf("%d wants are left of jobs that have nodes", wants)
		}
		five := r.submit("5", likes("lab"))
		r.want(five.ID, "assigned [lab assigned]")
		six := r.submit("6", likes("attic"))
		r.want(six.ID, "assigned [attic assigned]")
	})
}

func TestImageName(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for text, want := range map[string]string{
		"alpine":                     "docker.io/library/alpine:latest",
		"alpine:3":                   "docker.io/library/alpine:3",
		"ghcr.io/a/b":                "ghcr.io/a/b:latest",
		"a/b@" + digest:              "docker.io/a/b@" + digest,
		"localhost:5000/b@" + digest: "localhost:5000/b@" + digest,
		"a/b:1@" + digest:            "docker.io/a/b@" + digest,
		"Not An Image":               "",
	} {
		if got := imageName(text); got != want {
			t.Errorf("imageName(%q) = %q, want %q", text, got, want)
		}
	}
}

// A job goes where its image is, as the nodes say.
func TestJobsGoWhereTheirImageIs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a", 4)
		r.node("b", 4)
		r.d.NodeImages("b", []string{"docker.io/library/app:latest"})
		app := r.submit("app")
		r.want(app.ID, "assigned [b assigned]")
		other := r.submit("other")
		r.want(other.ID, "assigned [a assigned]")
		_, fits, err := r.d.Explain(t.Context(), app.ID)
		if err != nil || fits[0].NodeID != "b" || fits[0].ScoreParts[1].Name != "image present" {
			t.Errorf("explained as %v, %v", fits, err)
		}
	})
}
