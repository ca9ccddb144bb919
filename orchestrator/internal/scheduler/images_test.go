package scheduler

import (
	"fmt"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// imageCluster has so many connected nodes of four cores, n0000 and on.
func imageCluster(nodes int) *Cluster {
	cl := NewCluster()
	for i := range nodes {
		id := fmt.Sprintf("n%04d", i)
		cl.NodeChanged(nil, plain(id, 4, 8*gib))
		cl.SetConnected(id, true)
	}
	return cl
}

func TestImagePresentIsPreferred(t *testing.T) {
	const app = "docker.io/library/app:1"
	work := &Work{Resources: job.Resources{CPUMillis: 500}, Prefers: Preferences{Image: app}}

	// Few have it: they are found in a cluster of any size, as long as they have
	// room and are not much busier.
	cl := imageCluster(8 * enough)
	cl.SetImages("n0700", []string{"docker.io/library/other:1", app, app})
	got := make(map[string]int)
	for i := range 4 {
		id, _ := cl.Place(work, fmt.Sprint("job", i))
		got[id]++
	}
	// Each placement takes 500 of 4000 thousandths: a 24th of the node's score.
	if got["n0700"] != 4 {
		t.Errorf("placed on %v, want all on n0700", got)
	}
	fit := cl.Explain(work)[0]
	if text := fmt.Sprint(fit.NodeID, fit.ScoreParts[1]); text != "n0700{image present 20}" {
		t.Errorf("best is %s of %v", text, fit.ScoreParts)
	}
	for i := range 8 {
		cl.Place(work, fmt.Sprint("more", i))
	}
	if held := cl.Held("n0700").CPUMillis; held >= 4000 {
		t.Errorf("the node with the image holds %d, though others are empty", held)
	}

	// Many have it: one of them is taken all the same, and nobody else.
	cl = imageCluster(20 * enough)
	for i := 0; i < 20*enough; i += 4 {
		cl.SetImages(fmt.Sprintf("n%04d", i), []string{app})
	}
	for i := range 50 {
		id, _ := cl.Place(work, fmt.Sprint("job", i))
		var number int
		if _, err := fmt.Sscanf(id, "n%d", &number); err != nil || number%4 != 0 {
			t.Fatalf("placed on %s, which does not have the image", id)
		}
	}
}

// Names are kept while nodes have them, and no longer.
func TestImagesAreForgotten(t *testing.T) {
	cl := imageCluster(3)
	cl.SetImages("n0000", []string{"a", "b"})
	cl.SetImages("n0001", []string{"b", "c"})
	cl.SetImages("unknown", []string{"z"})
	cl.SetImages("n0000", []string{"b"})
	if len(cl.images) != 2 || len(cl.images["b"].nodes) != 2 {
		t.Errorf("images are %v, want b of two nodes and c", cl.images)
	}
	n, _ := cl.Node("n0001")
	cl.NodeChanged(n, nil)
	if len(cl.images) != 1 || len(cl.images["b"].nodes) != 1 {
		t.Errorf("images are %v, want b of one node", cl.images)
	}
	n, _ = cl.Node("n0000")
	off := *n
	off.State = node.Offline
	cl.NodeChanged(n, &off)
	if len(cl.images) != 0 {
		t.Errorf("images %v are left of nodes that are gone", cl.images)
	}
}
