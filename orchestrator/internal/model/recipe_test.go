package model_test

import (
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// Of two deployments that make one name of different things, a node that has both would
// serve either.
func TestOneNameIsMadeOfOneModelfile(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		of := func(name, served, recipe string) model.Deployment {
			d := model.Deployment{Name: name, Spec: model.Spec{Model: served, Engine: model.Ollama, Replicas: 1}}
			if recipe != "" {
				d.Spec.Ollama = &model.OllamaSettings{Modelfile: recipe}
			}
			return d
		}
		for _, d := range []model.Deployment{of("a", "helper", "FROM tiny"), of("b", "helper:latest", "FROM tiny"), of("c", "tiny", "")} {
			if _, err := r.m.Create(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []model.Deployment{of("d", "helper", "FROM other"), of("d", "Helper", ""), of("d", "tiny", "FROM other")} {
			if _, err := r.m.Create(t.Context(), d); fault.CodeOf(err) != fault.Precondition || !strings.Contains(err.Error(), "of another Modelfile, or of none; give this model another name") {
				t.Errorf("%s: %v", d.Spec.Model, err)
			}
		}
		_, err := r.m.Update(t.Context(), "a", func(d *model.Deployment) error { d.Spec.Ollama = nil; return nil })
		if fault.CodeOf(err) != fault.Precondition {
			t.Error(err)
		}
	})
}
