package model

import (
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/modelfile"
	"github.com/orchion/orchion/shared/modelfit"
)

// OllamaSettings are what is different from Ollama's defaults.
type OllamaSettings struct {
	// Modelfile says what the model is made of; empty: it is one of a registry.
	Modelfile string `json:"modelfile,omitempty"`
	// NumParallel is how many requests are answered at once; 0: as Ollama decides.
	NumParallel int `json:"numParallel,omitempty"`
	// ContextLength is how many tokens a context has; 0: as Ollama decides.
	ContextLength int `json:"contextLength,omitempty"`
	// KeepAlive is how long the model stays in memory after a request; 0: always.
	KeepAlive time.Duration `json:"keepAlive,omitempty"`
}

// Limits on settings of Ollama.
const (
	MaxNumParallel   = modelfit.MaxParallel
	MaxContextLength = modelfit.MaxContext
	MinKeepAlive     = time.Second
	MaxKeepAlive     = 365 * 24 * time.Hour
)

// checkOllama says what is wrong with the settings of Ollama, naming the field.
func (s *Spec) checkOllama() error {
	o := s.Ollama
	switch {
	case o == nil:
		return nil
	case s.Engine != Ollama:
		return fault.BadField("spec.ollama", "goes with the engine ollama only; this one is %s", s.Engine)
	case o.NumParallel < 0 || o.NumParallel > MaxNumParallel:
		return fault.BadField("spec.ollama.numParallel", "is %d; 1 to %d are allowed", o.NumParallel, MaxNumParallel)
	case o.ContextLength < 0 || o.ContextLength > MaxContextLength:
		return fault.BadField("spec.ollama.contextLength", "is %d; 1 to %d are allowed", o.ContextLength, MaxContextLength)
	case o.KeepAlive != 0 && (o.KeepAlive < MinKeepAlive || o.KeepAlive > MaxKeepAlive):
		return fault.BadField("spec.ollama.keepAlive", "is %v; %v to %v are allowed", o.KeepAlive, MinKeepAlive, MaxKeepAlive)
	case o.Modelfile == "":
		return nil
	}
	file, err := modelfile.Parse(o.Modelfile)
	if err != nil {
		return fault.BadField("spec.ollama.modelfile", "%v", err)
	}
	if ollamaName(file.From) == ollamaName(s.Model) {
		return fault.BadField("spec.ollama.modelfile", "is FROM %s, which is also the name of what it makes (spec.model); give that another name", file.From)
	}
	return nil
}

// BaseModel is the model whose files are needed: that of the Modelfile, if there is one.
func (s *Spec) BaseModel() string {
	if s.Ollama != nil && s.Ollama.Modelfile != "" {
		if file, err := modelfile.Parse(s.Ollama.Modelfile); err == nil {
			return file.From
		}
	}
	return s.Model
}

// ollamaName is a model's name with what it implies. Ollama's names ignore case.
func ollamaName(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "registry.ollama.ai/"), "library/")
	if !strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		name += ":latest"
	}
	return strings.ToLower(name)
}

// otherRecipe says that another deployment makes the same name of something else: on a
// node that had both, the later one would win.
func (m *Manager) otherRecipe(of *Deployment) error {
	if of.Spec.Engine != Ollama {
		return nil
	}
	recipe := func(s *Spec) string {
		if s.Ollama == nil {
			return ""
		}
		return s.Ollama.Modelfile
	}
	for _, d := range m.ordered() {
		if d.Name != of.Name && !d.Deleting && d.Spec.Engine == Ollama && ollamaName(d.Spec.Model) == ollamaName(of.Spec.Model) && recipe(&d.Spec) != recipe(&of.Spec) {
			return fault.New(fault.Precondition, "deployment %s makes %s of another Modelfile, or of none; give this model another name", d.Name, d.Spec.Model)
		}
	}
	return nil
}
