package modelinfo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
	"github.com/orchion/orchion/shared/modelfit"
)

// engineTimeout bounds a question to an engine of this machine.
const engineTimeout = 5 * time.Second

// maxShow bounds Ollama's answers; licences make them long.
const maxShow = 8 << 20

// fromEngines asks Ollamas of this machine; nil: none has the model.
func (d *Describer) fromEngines(ctx context.Context, model string) *modelfit.Model {
	for _, endpoint := range d.cfg.Endpoints(ctx) {
		// One that does not answer, or has no such model, is as good as none.
		if m, err := d.show(ctx, endpoint, model); err == nil {
			return m
		}
	}
	return nil
}

// show asks an Ollama for a model (docs/api.md of Ollama).
func (d *Describer) show(ctx context.Context, endpoint, model string) (*modelfit.Model, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	var tags struct {
		Models []struct {
			Name string `json:"name"`
			Size int64  `json:"size"`
		} `json:"models"`
	}
	if err := hosting.GetJSON(ctx, d.local, endpoint+"/api/tags", &tags); err != nil {
		return nil, err
	}
	size := int64(0)
	for _, m := range tags.Models {
		if name, err := parseOllama(m.Name); err == nil && strings.EqualFold(name.canonical(), model) {
			size = m.Size
		}
	}
	if size == 0 {
		return nil, ErrNotFound
	}
	resp, err := hosting.Do(ctx, d.local, http.MethodPost, endpoint+"/api/show", map[string]any{"model": model})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var shown struct {
		Info    modelfit.Info `json:"model_info"`
		Details struct {
			Quantization string `json:"quantization_level"`
		} `json:"details"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxShow)).Decode(&shown); err != nil {
		return nil, fmt.Errorf("%s/api/show: %w", endpoint, err)
	}
	m := shown.Info.Model()
	m.Source, m.WeightBytes = "an Ollama that has it", size
	if q := shown.Details.Quantization; q != "" {
		m.Quantization = clip(q)
	}
	return m, m.Check()
}
