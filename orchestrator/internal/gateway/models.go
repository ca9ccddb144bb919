package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// modelObject is a model as OpenAI lists it, with fields of ours at the end.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // seconds since 1970
	OwnedBy string `json:"owned_by"`
	// Engines and Nodes say what serves the model and where.
	Engines []string `json:"engines"`
	Nodes   []string `json:"nodes"`
	// LeadsTo are the models that answer for an alias.
	LeadsTo []string `json:"leads_to,omitempty"`
}

type modelList struct {
	Object string        `json:"object"`
	Data   []modelObject `json:"data"`
}

func (g *Gateway) objectOf(info model.ModelInfo) modelObject {
	o := modelObject{ID: info.ID, Object: "model", OwnedBy: "orchion", Engines: []string{}, Nodes: []string{}}
	if !info.Created.IsZero() {
		o.Created = info.Created.Unix()
	}
	for _, r := range info.Routes {
		if r.Engine != "" && !slices.Contains(o.Engines, r.Engine) {
			o.Engines = append(o.Engines, r.Engine)
		}
		if !slices.Contains(o.Nodes, r.NodeID) {
			o.Nodes = append(o.Nodes, r.NodeID)
		}
	}
	if models := g.meant(info.ID); models[0] != info.ID {
		o.LeadsTo = models
	}
	slices.Sort(o.Engines)
	slices.Sort(o.Nodes)
	return o
}

// listModels serves GET /v1/models.
func (g *Gateway) listModels(w http.ResponseWriter, r *http.Request) {
	if isAnthropic(r) {
		writeJSON(w, anthropicModels(g.listedModels(r.Context())))
		return
	}
	list := modelList{Object: "list", Data: []modelObject{}}
	for _, info := range g.listedModels(r.Context()) {
		list.Data = append(list.Data, g.objectOf(info))
	}
	writeJSON(w, list)
}

// getModel serves GET /v1/models/{model}.
func (g *Gateway) getModel(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	var d dialect = openAI{}
	if isAnthropic(r) {
		d = anthropicAPI{}
	}
	if failure := g.mayCall(r.Context(), name); failure != nil {
		d.writeError(w, failure)
		return
	}
	models := g.listedModels(r.Context())
	for _, wanted := range []string{name, otherName(name)} {
		for _, info := range models {
			switch {
			case info.ID != wanted || len(info.Routes) == 0 && len(g.cfg.LeadsTo(wanted)) == 0:
				continue
			case isAnthropic(r):
				writeJSON(w, anthropicModelOf(info))
			default:
				writeJSON(w, g.objectOf(info))
			}
			return
		}
	}
	d.writeError(w, g.noRoute(r.Context(), name))
}

// listedModels gives the models that clients are told of, by name: those that
// have a route, and without one those that a request would start.
func (g *Gateway) listedModels(ctx context.Context) []model.ModelInfo {
	models := g.visibleModels(ctx)
	listed := make(map[string]bool, len(models))
	for _, info := range models {
		listed[info.ID] = true
	}
	for _, d := range g.cfg.Deployments() {
		if d.Spec.Scales() && !d.Deleting && !listed[d.Spec.Model] && g.mayCall(ctx, d.Spec.Model) == nil {
			listed[d.Spec.Model] = true
			models = append(models, model.ModelInfo{ID: d.Spec.Model, Created: d.CreatedAt})
		}
	}
	for _, name := range g.cfg.Aliases() {
		if listed[name] || g.deploymentOf(name) != nil || g.mayCall(ctx, name) != nil {
			continue // a model wins over an alias of its name
		}
		if i := slices.IndexFunc(g.cfg.LeadsTo(name), func(m string) bool { return listed[m] }); i >= 0 {
			models = append(models, model.ModelInfo{ID: name, Routes: g.resolve(g.cfg.LeadsTo(name)[i])})
		}
	}
	slices.SortFunc(models, func(a, b model.ModelInfo) int { return strings.Compare(a.ID, b.ID) })
	return models
}

// isAnthropic says whether a client of Anthropic's asks, where both APIs have the same path.
func isAnthropic(r *http.Request) bool { return r.Header.Get(headerAnthropic) != "" }

// visibleModels gives the models that have a route, by name; to a job those
// that it may call.
func (g *Gateway) visibleModels(ctx context.Context) []model.ModelInfo {
	models := g.cfg.Routes.Models()
	visible := make([]model.ModelInfo, 0, len(models))
	for _, info := range models {
		if g.mayCall(ctx, info.ID) == nil {
			visible = append(visible, info)
		}
	}
	slices.SortFunc(visible, func(a, b model.ModelInfo) int { return strings.Compare(a.ID, b.ID) })
	return visible
}

func writeJSON(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil { // plain structs always encode
		writeError(w, &apiError{Status: http.StatusInternalServerError, Type: typeServer, Message: "internal error"})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // a client that left needs no answer
}

// progressOf says how far a deployment is that serves nowhere yet.
func progressOf(d model.Deployment) string {
	switch {
	case len(d.Replicas) > 0:
	case d.Spec.Scales():
		return "it was idle and is started on demand"
	case d.Spec.Replicas == 0 && !d.Spec.Everywhere:
		return "it is scaled to no replicas"
	default:
		return "it waits for a node"
	}
	parts := make([]string, 0, len(d.Replicas))
	for _, r := range d.Replicas {
		if part := replicaProgress(r); !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	const most = 3
	if n := len(parts) - most; n > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(parts, "; ")
}

func replicaProgress(r model.Replica) string {
	var text string
	switch r.State {
	case model.Pulling:
		text = fmt.Sprintf("pulling, %.0f %%", r.ProgressPercent)
	case model.Loading:
		text = "loading"
	case model.Failed:
		text = "failed"
	case model.Stopping:
		text = "stopping"
	case model.Ready:
		text = "ready, but its node is not connected"
	default:
		text = "pending"
	}
	if r.NodeID != "" {
		text += " on node " + r.NodeID
	}
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}
