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
	known := newKinds()
	share := func(reg *Registration) {
		reg.AgentVersion, reg.Labels = known.texts.of(reg.AgentVersion), known.labelsOf(reg.Labels)
		known.share(&reg.Capabilities)
	}
	first, second := registration(), registration()
	share(&first)
	share(&second)
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
	if &first.Capabilities.Runtimes[0] != &second.Capabilities.Runtimes[0] {
		t.Error("the list of runtimes is there twice")
	}
	if first.Labels["new"] = "1"; second.Labels["new"] != "1" {
		t.Error("the set of labels is there twice")
	}
	long := strings.Repeat("x", maxTextLength+1)
	known.texts.of(long)
	for i := range 2 * maxTexts {
		known.texts.of(fmt.Sprint(i))
	}
	if _, kept := known.texts[long]; kept || len(known.texts) > maxTexts {
		t.Errorf("%d texts are kept, the long one: %v", len(known.texts), kept)
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

// What reads alike in a row is not taken for equal, and what is too long or too much
// is not kept.
func TestOnlyEqualSetsAreShared(t *testing.T) {
	known := newKinds()
	for _, labels := range []map[string]string{{"a": "bc"}, {"ab": "c"}, {"a": "b", "c": ""}, {"a": `"b"`}, {`a"`: "b"}} {
		if diff := cmp.Diff(labels, known.labelsOf(labels)); diff != "" {
			t.Errorf("sharing changed labels (-want +got):\n%s", diff)
		}
	}
	if runtimes := known.runtimesOf([]Runtime{{Name: "docker"}}); known.runtimesOf([]Runtime{{Name: "docker", Rootless: true}})[0] == runtimes[0] {
		t.Error("a runtime with root was taken for one without")
	}
	long := map[string]string{"a": strings.Repeat("x", maxSetLength)}
	known.labelsOf(long)
	before := len(known.labels)
	if known.labelsOf(long); len(known.labels) != before || before != 5 {
		t.Errorf("%d sets are kept", before)
	}
	for i := range 2 * maxSets {
		known.labelsOf(map[string]string{"i": fmt.Sprint(i)})
	}
	if len(known.labels) > maxSets {
		t.Errorf("%d sets are kept", len(known.labels))
	}
}
