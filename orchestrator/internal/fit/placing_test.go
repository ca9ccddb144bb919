package fit

import (
	"net/http"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

func TestSuit(t *testing.T) {
	n := &nodes{answer: says(eight)}
	away := space("away", 0)
	away.Connected = false
	small := space("small", gib)
	small.Node.Capabilities.MemoryBytes = gib
	f := fitter(n, []scheduler.Space{
		space("busy", gib), small, space("cpu", 32*gib), space("gpu", gib, gpu("NVIDIA L4", 20*gib, 24*gib)), space("serves", gib), away,
	}, model.Deployment{Spec: model.Spec{Model: "m", Engine: model.Ollama}, Replicas: []model.Replica{{NodeID: "serves", State: model.Ready}}})
	spec := &model.Spec{Model: "m:latest", Engine: model.Ollama}
	f.Learn(t.Context(), spec)
	to := f.Suit(spec)
	if len(to.Never) != 1 || !strings.HasPrefix(to.Never["small"], "needs 5.8 GiB of memory, and the node has 1.0 GiB; declare") {
		t.Errorf("never do %v", to.Never)
	}
	if len(to.Taken) != 1 || to.Taken["busy"] != "needs 5.8 GiB of memory; 4.8 GiB are missing, which others use now" {
		t.Errorf("taken are %v", to.Taken)
	}
	if len(to.Slow) != 1 || to.Slow["cpu"] != "only on the CPU, which is slow: it has no GPU" {
		t.Errorf("slow are %v", to.Slow)
	}
	asked := len(n.asked)
	vllm := &model.Spec{Model: "m", Engine: model.VLLM}
	f.Learn(t.Context(), vllm)
	if to := f.Suit(vllm); to.Never != nil || to.Taken != nil || to.Slow != nil || len(n.asked) != asked {
		t.Errorf("with vLLM it is %+v", to)
	}
}

// What is not known keeps a model from nowhere.
func TestSuitUnknown(t *testing.T) {
	n := &nodes{answer: func(string, *http.Request) (int, string) { return 502, "no network" }}
	f := fitter(n, []scheduler.Space{space("small", gib)})
	spec := &model.Spec{Model: "m", Engine: model.Ollama}
	f.Learn(t.Context(), spec)
	if to := f.Suit(spec); to.Never != nil || to.Taken != nil || to.Slow != nil {
		t.Errorf("it is %+v", to)
	}
}
