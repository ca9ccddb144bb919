package node

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func TestTextsAreShared(t *testing.T) {
	registration := func() Registration {
		text := strings.Clone // as from the wire
		return Registration{
			ID: "n", AgentVersion: text("v1"), Labels: map[string]string{text("room"): text("lab")},
			Capabilities: Capabilities{
				OS: text("linux"), CPU: CPU{Model: text("EPYC")}, Disk: Disk{Path: text("/var")},
				GPUs:     []GPU{{Vendor: text("nvidia"), UUID: text("GPU-1")}},
				Runtimes: []Runtime{{Name: text("docker"), Endpoint: text("unix:///run")}},
				Engines:  []LocalEngine{{Name: text("ollama"), Models: []string{text("m")}}},
			},
		}
	}
	known := texts{}
	first, second := registration(), registration()
	known.share(&first)
	known.share(&second)
	for _, reg := range []Registration{first, second} {
		if diff := cmp.Diff(registration(), reg); diff != "" {
			t.Errorf("sharing changed what was said (-want +got):\n%s", diff)
		}
	}
	same := func(what, a, b string) {
		t.Helper()
		if unsafe.StringData(a) != unsafe.StringData(b) {
			t.Errorf("%s is there twice", what)
		}
	}
	same("version", first.AgentVersion, second.AgentVersion)
	same("label", first.Labels["room"], second.Labels["room"])
	same("CPU", first.Capabilities.CPU.Model, second.Capabilities.CPU.Model)
	same("model", first.Capabilities.Engines[0].Models[0], second.Capabilities.Engines[0].Models[0])
	long := strings.Repeat("x", maxTextLength+1)
	known.of(long)
	for i := range 2 * maxTexts {
		known.of(fmt.Sprint(i))
	}
	if _, kept := known[long]; kept || len(known) > maxTexts {
		t.Errorf("%d texts are kept, the long one: %v", len(known), kept)
	}
}

// Labels and taints of one side alone are not copied.
func TestMergingSharesWhatItCan(t *testing.T) {
	labels := map[string]string{"a": "1"}
	for _, merged := range []map[string]string{mergeLabels(labels, nil), mergeLabels(nil, labels)} {
		merged["b"] = "2"
		if labels["b"] != "2" {
			t.Error("the labels were copied")
		}
		delete(labels, "b")
	}
	if got := mergeLabels(labels, map[string]string{"a": "2"}); got["a"] != "2" || labels["a"] != "1" {
		t.Errorf("merged to %v, leaving %v", got, labels)
	}
}
