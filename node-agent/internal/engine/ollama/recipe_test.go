package ollama

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/node-agent/internal/engine"
)

// A replica with settings of the server's has a server of its own, with them.
func TestSettingsOfItsOwn(t *testing.T) {
	s := newServer()
	d := bench(t, s)
	e := newEngine(t, d, nil)
	plain, other := spec("r1", "tiny"), spec("r2", "tiny")
	other.Ollama = engine.OllamaSettings{NumParallel: 2, ContextLength: 8192, KeepAlive: 5 * time.Minute}
	first, err := e.Ensure(t.Context(), plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"OLLAMA_NUM_PARALLEL": "", "OLLAMA_CONTEXT_LENGTH": "", "OLLAMA_KEEP_ALIVE": "-1"}, s.env); diff != "" {
		t.Error(diff)
	}
	if got := s.kept["tiny:latest"]; got != -1.0 {
		t.Errorf("kept for %v", got)
	}
	second, err := e.Ensure(t.Context(), other, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.ContainerID == second.ContainerID {
		t.Error("both are served by one container")
	}
	if diff := cmp.Diff(map[string]string{"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_CONTEXT_LENGTH": "8192", "OLLAMA_KEEP_ALIVE": "5m0s"}, s.env); diff != "" {
		t.Error(diff)
	}
	if got := s.kept["tiny:latest"]; got != "5m0s" {
		t.Errorf("kept for %v", got)
	}
	same := other
	same.ReplicaID = "r3"
	if third, err := e.Ensure(t.Context(), same, nil); err != nil || third.ContainerID != second.ContainerID {
		t.Errorf("one with the same settings is served by %+v, %v", third, err)
	}
}

// A model of a Modelfile is made of the one that it names, which is pulled.
func TestModelOfAModelfile(t *testing.T) {
	s := newServer()
	d := bench(t, s)
	e := newEngine(t, d, nil)
	helper := spec("r1", "helper")
	helper.Ollama.Modelfile = "FROM tiny\nSYSTEM Be brief.\nPARAMETER num_ctx 512\nPARAMETER stop x\nMESSAGE user hi\nTEMPLATE t\nLICENSE l"
	served, err := e.Ensure(t.Context(), helper, nil)
	if err != nil {
		t.Fatal(err)
	}
	if served.Model != "helper:latest" || !s.models["tiny:latest"] || !s.models["helper:latest"] || !s.loaded["helper:latest"] {
		t.Errorf("served %+v of %v, loaded %v", served, s.models, s.loaded)
	}
	want := `{"from":"tiny:latest","license":["l"],"messages":[{"role":"user","content":"hi"}],"model":"helper:latest",` +
		`"parameters":{"num_ctx":512,"stop":["x"]},"stream":true,"system":"Be brief.","template":"t"}`
	if len(s.made) != 1 || s.made[0] != want {
		t.Errorf("made %v, want %s", s.made, want)
	}
	if err := e.Check(t.Context(), helper); err != nil {
		t.Error(err)
	}
	// A changed one is made anew of what is there.
	helper.ReplicaID, helper.Ollama.Modelfile = "r2", "FROM tiny\nSYSTEM Be long."
	if _, err := e.Ensure(t.Context(), helper, nil); err != nil || len(s.made) != 2 {
		t.Errorf("made %v: %v", s.made, err)
	}

	for text, want := range map[string]struct {
		code engine.Code
		says string
	}{
		"FROM tiny\nSYSTEM refuse": {engine.CodeInvalid, "unknown parameter 'x'; look at the deployment's Modelfile"},
		"FROM tiny\nSYSTEM stop":   {engine.CodeUnavailable, "the answer ended early"},
		"FROM none":                {engine.CodeModelNotFound, "file does not exist"},
		"FROM helper":              {engine.CodeInvalid, "FROM helper is the model that it makes"},
		"FROM tiny\nADAPTER x":     {engine.CodeInvalid, "line 2: ADAPTER names a file"},
		"FROM a/b/c/d/e":           {engine.CodeInvalid, "is not a model of Ollama's"},
	} {
		bad := spec("r3", "helper")
		bad.Ollama.Modelfile = text
		_, err := e.Ensure(t.Context(), bad, nil)
		if engine.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%q: %v (%s), want %s (%s)", text, err, engine.CodeOf(err), want.says, want.code)
		}
	}
}
