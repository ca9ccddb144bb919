package model

import (
	"strings"
	"testing"
	"time"
)

func TestOllamaSettings(t *testing.T) {
	for want, s := range map[string]Spec{
		"": {Model: "m", Engine: Ollama, Replicas: 1, Ollama: &OllamaSettings{Modelfile: "FROM other", NumParallel: 3, ContextLength: 4096, KeepAlive: time.Hour}},
		"spec.ollama: goes with the engine ollama only; this one is vllm":          {Model: "m", Engine: VLLM, Replicas: 1, Ollama: &OllamaSettings{NumParallel: 1}},
		"spec.ollama.numParallel: is 1025; 1 to 1024 are allowed":                  {Model: "m", Engine: Ollama, Ollama: &OllamaSettings{NumParallel: 1025}},
		"spec.ollama.contextLength: is -1; 1 to 16777216 are allowed":              {Model: "m", Engine: Ollama, Ollama: &OllamaSettings{ContextLength: -1}},
		"spec.ollama.keepAlive: is 1ms; 1s to 8760h0m0s are allowed":               {Model: "m", Engine: Ollama, Ollama: &OllamaSettings{KeepAlive: time.Millisecond}},
		"spec.ollama.modelfile: line 2: ADAPTER names a file":                      {Model: "m", Engine: Ollama, Ollama: &OllamaSettings{Modelfile: "FROM a\nADAPTER b"}},
		"spec.ollama.modelfile: is FROM library/M, which is also the name of what": {Model: "m:latest", Engine: Ollama, Ollama: &OllamaSettings{Modelfile: "FROM library/M"}},
	} {
		err := checkSpec(&s)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := Spec{Model: "m", Engine: Ollama}
	plain := digestOf(&s)
	s.Ollama = &OllamaSettings{Modelfile: "FROM base", NumParallel: 6}
	if s.BaseModel() != "base" || s.target() != 6 || s.maxInFlight() != 12 || digestOf(&s) == plain {
		t.Errorf("base %s, target %d, given %d, digest %s", s.BaseModel(), s.target(), s.maxInFlight(), digestOf(&s))
	}
}
