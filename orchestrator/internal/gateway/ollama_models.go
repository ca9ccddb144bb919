package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// ollamaModel is a model as Ollama lists it: its fields are those of the engine
// where one tells them, so that what is unknown here survives.
type ollamaModel map[string]any

// Details of a model of which nothing is known.
var noDetails = map[string]any{
	"parent_model": "", "format": "", "family": "", "families": nil, "parameter_size": "", "quantization_level": "",
}

func newOllamaModel(name string, known engineModel) ollamaModel {
	m := ollamaModel{"size": 0, "digest": standInDigest(name), "details": noDetails}
	for key, value := range known.fields {
		m[key] = value
	}
	m["name"], m["model"] = name, name
	return m
}

// standInDigest names a model whose digest is not known: clients show the
// beginning of one for every model.
func standInDigest(name string) string {
	sum := sha256.Sum256([]byte("orchion model " + name))
	return hex.EncodeToString(sum[:])
}

// ollamaName gives the name by which Ollama lists a model: with its tag.
func (g *Gateway) ollamaName(info model.ModelInfo) string {
	if otherName(info.ID) != info.ID+latest {
		return info.ID
	}
	if len(info.Routes) == 0 { // it is idle
		if d := g.deploymentOf(info.ID); d == nil || d.Spec.Engine != model.Ollama {
			return info.ID
		}
	} else if len(ollamaRoutes(info.Routes)) == 0 {
		return info.ID
	}
	return info.ID + latest
}

const (
	// listTimeout bounds how long the engines are asked for one listing, and
	// maxListed how many.
	listTimeout = 5 * time.Second
	maxListed   = 512
	// tagsAge and psAge are how long what an engine said is taken to be so.
	tagsAge = 30 * time.Second
	psAge   = time.Second
)

// ollamaTags serves GET /api/tags: the cluster's models.
func (g *Gateway) ollamaTags(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	models := g.listedModels(ctx)
	var routes []model.Route // one Ollama for each model tells its details
	for _, info := range models {
		if found := ollamaRoutes(info.Routes); len(found) > 0 {
			routes = append(routes, found[0])
		}
	}
	said := g.catalogue.ask(ctx, g, routes, "/api/tags", tagsAge)
	list := []ollamaModel{}
	listed := map[string]bool{}
	for _, info := range models {
		name := g.ollamaName(info)
		if listed[name] {
			continue
		}
		listed[name] = true
		var known engineModel
		if found := ollamaRoutes(info.Routes); len(found) > 0 {
			known = said[keyOf(found[0])].find(found[0])
		}
		m := newOllamaModel(name, known)
		if _, ok := m["modified_at"]; !ok {
			m["modified_at"] = info.Created.UTC()
		}
		o := g.objectOf(info)
		m["engines"], m["nodes"] = o.Engines, o.Nodes
		list = append(list, m)
	}
	writeJSON(w, map[string]any{"models": list})
}

// always is when a model is unloaded that is not: as far away as Ollama says it
// of one that it keeps.
const always = 200 * 365 * 24 * time.Hour

// ollamaPs serves GET /api/ps: the models that are loaded, and where.
func (g *Gateway) ollamaPs(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	models := g.visibleModels(ctx)
	var routes []model.Route
	for _, info := range models {
		routes = append(routes, ollamaRoutes(info.Routes)...)
	}
	said := g.catalogue.ask(ctx, g, routes, "/api/ps", psAge)
	list := []ollamaModel{}
	type place struct{ name, node, replica string }
	listed := map[place]bool{}
	for _, info := range models {
		name := g.ollamaName(info)
		for _, route := range info.Routes {
			at := place{name, route.NodeID, cmp.Or(route.ReplicaID, route.EngineEndpoint)}
			var known engineModel
			switch route.Engine {
			case engineOllama:
				if known = said[keyOf(route)].find(route); known.fields == nil {
					continue // not loaded, or it did not say
				}
			case engineVLLM: // it has its model as long as it runs
				known.fields = g.loadedFields(route)
			default:
				continue // nobody can tell
			}
			if listed[at] {
				continue
			}
			listed[at] = true
			m := newOllamaModel(name, known)
			m["node"], m["engine"] = route.NodeID, route.Engine
			if route.ReplicaID != "" {
				m["replica"] = route.ReplicaID
			}
			list = append(list, m)
		}
	}
	writeJSON(w, map[string]any{"models": list})
}

// loadedFields says what is known of a model on an engine that keeps it.
func (g *Gateway) loadedFields(route model.Route) map[string]json.RawMessage {
	var size int64
	for _, d := range g.cfg.Deployments() {
		if d.Name != route.Deployment {
			continue
		}
		for _, r := range d.Replicas {
			if r.ID == route.ReplicaID {
				size = r.TotalBytes
			}
		}
	}
	until, err := time.Now().Add(always).UTC().MarshalJSON()
	if err != nil { // its year has four digits
		until = []byte("null")
	}
	number := fmt.Appendf(nil, "%d", size)
	return map[string]json.RawMessage{"size": number, "size_vram": number, "expires_at": until}
}

// maxShown bounds the engines that are asked about one model.
const maxShown = 3

// ollamaShow serves POST /api/show, as an engine that has the model answers it.
func (g *Gateway) ollamaShow(w http.ResponseWriter, r *http.Request) {
	body, field, release, ok := g.readNamed(w, r, nil)
	if !ok {
		return
	}
	defer release()
	c := &call{endpoint: &endpoint{path: "/api/show", dialect: ollamaAPI{}}, started: time.Now()}
	models := g.meant(field.Name)
	routes := g.firstRoutes(models)
	if len(routes) == 0 && g.await(w, r, c, field.Name, models) { // who asks about a model is about to call it
		if routes = g.firstRoutes(models); len(routes) == 0 { // it went again
			c.fail(w, g.noRoute(r.Context(), field.Name))
		}
	}
	if len(routes) == 0 {
		return
	}
	engines := ollamaRoutes(routes)
	if len(engines) == 0 {
		showOther(w, routes)
		return
	}
	var failure *apiError
	for _, route := range engines[:min(len(engines), maxShown)] {
		named := body
		if name := servedName(route, field.Name); !sameModel(name, field.Name) {
			named = replaceModel(body, field, name)
		}
		res, err := g.send(r.Context(), r, prepared{path: "/api/show", contentType: "application/json", body: named}, route)
		if err != nil {
			failure = g.engineError(err, route)
			continue
		}
		g.relayShown(w, r, c, route, res)
		return
	}
	ollamaAPI{}.writeError(w, failure)
}

// firstRoutes gives the ways to the first of some models that has any.
func (g *Gateway) firstRoutes(models []string) []model.Route {
	for _, name := range models {
		if routes := g.resolve(name); len(routes) > 0 {
			return routes
		}
	}
	return nil
}

func (g *Gateway) relayShown(w http.ResponseWriter, r *http.Request, c *call, route model.Route, res *upstream.Response) {
	defer res.Body.Close()
	setRouteHeaders(w.Header(), route, "tells of the model")
	g.relay(w, r, c, route, res, nil)
}

// showOther tells of a model on engines that have no such endpoint.
func showOther(w http.ResponseWriter, routes []model.Route) {
	var engines, nodes []string
	for _, route := range routes {
		engines, nodes = append(engines, route.Engine), append(nodes, route.NodeID)
	}
	slices.Sort(engines)
	slices.Sort(nodes)
	writeJSON(w, map[string]any{
		"modelfile":    "# served by " + strings.Join(slices.Compact(engines), ", "),
		"parameters":   "",
		"template":     "",
		"details":      noDetails,
		"capabilities": []string{"completion"},
		"engines":      slices.Compact(engines),
		"nodes":        slices.Compact(nodes),
	})
}
