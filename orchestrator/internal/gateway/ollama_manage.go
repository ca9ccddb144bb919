package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/ollama"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// Manager changes what is to be served.
type Manager interface {
	Create(ctx context.Context, wanted model.Deployment) (model.Deployment, error)
	Get(name string) (model.Deployment, error)
	Delete(ctx context.Context, name string) error
}

const (
	// pullPause lies between two looks at a deployment that somebody waits for;
	// pullRepeat is when its state is told again, so that a client that has left
	// is noticed.
	pullPause  = 200 * time.Millisecond
	pullRepeat = 15 * time.Second
	// maxPulls bounds the clients that wait for deployments.
	maxPulls = 256
)

// pulls counts the clients that wait for deployments.
type pulls struct{ waiting atomic.Int64 }

// progress is a line of Ollama's answer to a pull.
type progress struct {
	Status    string `json:"status"`
	Digest    string `json:"digest,omitempty"`
	Total     int64  `json:"total,omitempty"`
	Completed int64  `json:"completed,omitempty"`
}

// mayManage says why a request's sender may not change what is served.
func (g *Gateway) mayManage(ctx context.Context) *apiError {
	if _, job := ctx.Value(callerKey{}).(tunnel.Caller); job {
		return &apiError{
			Status: http.StatusForbidden, Type: typePermission, Code: "not_allowed",
			Message: "jobs may call models; they may not pull or delete them",
		}
	}
	if g.cfg.Manager == nil {
		return &apiError{
			Status: http.StatusNotImplemented, Type: typeInvalidRequest, Code: "not_supported",
			Message: "models cannot be pulled or deleted here",
		}
	}
	return nil
}

// errManager tells an error of the manager's.
func errManager(err error) *apiError {
	e := &apiError{Status: http.StatusInternalServerError, Type: typeServer, Code: "internal", Message: "internal error"}
	var known *fault.Error
	if !errors.As(err, &known) {
		return e
	}
	e.Message = known.Public()
	switch known.Code {
	case fault.Invalid:
		e.Status, e.Type = http.StatusBadRequest, typeInvalidRequest
	case fault.NotFound:
		e.Status, e.Type = http.StatusNotFound, typeInvalidRequest
	case fault.AlreadyExists, fault.Precondition:
		e.Status, e.Type = http.StatusConflict, typeInvalidRequest
	case fault.Exhausted, fault.Unavailable:
		e.Status = http.StatusServiceUnavailable
	}
	return e
}

// ollamaDelete serves DELETE /api/delete: the deployments of a model.
func (g *Gateway) ollamaDelete(w http.ResponseWriter, r *http.Request) {
	if failure := g.mayManage(r.Context()); failure != nil {
		ollamaAPI{}.writeError(w, failure)
		return
	}
	_, field, release, ok := g.readNamed(w, r, nil)
	if !ok {
		return
	}
	release()
	found := false
	for _, d := range g.cfg.Deployments() {
		if !sameModel(d.Spec.Model, field.Name) {
			continue
		}
		found = true
		if err := g.cfg.Manager.Delete(r.Context(), d.Name); err != nil {
			ollamaAPI{}.writeError(w, errManager(err))
			return
		}
	}
	if found {
		w.WriteHeader(http.StatusOK)
		return
	}
	routes := g.resolve(field.Name)
	if len(routes) == 0 {
		ollamaAPI{}.writeError(w, g.noRoute(r.Context(), field.Name))
		return
	}
	ollamaAPI{}.writeError(w, &apiError{
		Status: http.StatusConflict, Type: typeInvalidRequest, Param: "model", Code: "not_managed",
		Message: fmt.Sprintf("the model %q is served by an engine on node %s that Orchion did not start; remove it there", field.Name, routes[0].NodeID),
	})
}

// ollamaPull serves POST /api/pull: it deploys a model unless it is deployed,
// and tells how far that is until the model can be called.
func (g *Gateway) ollamaPull(w http.ResponseWriter, r *http.Request) {
	if failure := g.mayManage(r.Context()); failure != nil {
		ollamaAPI{}.writeError(w, failure)
		return
	}
	var options struct {
		Insecure bool  `json:"insecure"`
		Stream   *bool `json:"stream"`
	}
	_, field, release, ok := g.readNamed(w, r, &options)
	if !ok {
		return
	}
	release()
	if options.Insecure {
		ollamaAPI{}.writeError(w, errBadRequest(errors.New("insecure must be false: nodes pull from registries whose certificates are right"), "insecure"))
		return
	}
	defer g.pulls.waiting.Add(-1)
	if g.pulls.waiting.Add(1) > maxPulls {
		ollamaAPI{}.writeError(w, errBusy())
		return
	}
	p := &pull{g: g, w: w, model: field.Name, stream: options.Stream == nil || *options.Stream, told: map[string]progress{}}
	p.run(r.Context())
}

// pull is a client that waits for a deployment.
type pull struct {
	g       *Gateway
	w       http.ResponseWriter
	model   string
	stream  bool
	begun   bool // the status is out
	left    bool // the client is gone
	created bool // by this pull
	told    map[string]progress
	toldAt  time.Time
}

func (p *pull) run(ctx context.Context) {
	if len(p.g.resolve(p.model)) > 0 {
		p.succeed()
		return
	}
	pause := time.NewTicker(pullPause)
	defer pause.Stop()
	name := ""
	for {
		var err error
		var over bool
		if name == "" {
			name, err = p.deployment(ctx)
		}
		if err == nil && name != "" {
			over, err = p.look(ctx, name)
		}
		if err != nil && ctx.Err() == nil {
			p.fail(err)
			return
		}
		if over || p.left {
			return
		}
		select {
		case <-ctx.Done():
			// Clients take a stream that only ends for a success.
			p.fail(fault.New(fault.Unavailable, "nobody waits here any more; the model is deployed all the same"))
			return
		case <-pause.C:
		}
	}
}

// deployment finds the deployment of the model, or makes one. It is empty while
// another of that model is still going away.
func (p *pull) deployment(ctx context.Context) (string, error) {
	for _, d := range p.g.cfg.Deployments() {
		switch {
		case !sameModel(d.Spec.Model, p.model):
		case d.Deleting:
			p.tell("", progress{Status: "waiting until the model's last deployment is gone"})
			return "", nil
		default:
			return d.Name, nil
		}
	}
	d, err := p.g.cfg.Manager.Create(ctx, model.Deployment{Spec: model.Spec{Model: p.model, Engine: model.Ollama, Replicas: 1}})
	if err != nil {
		return "", err
	}
	p.created = true
	p.tell("", progress{Status: "pulling manifest"})
	return d.Name, nil
}

// look tells how far the deployment is; over is true when it serves.
func (p *pull) look(ctx context.Context, name string) (over bool, err error) {
	d, err := p.g.cfg.Manager.Get(name)
	if err != nil {
		return false, err
	}
	switch state, reason := d.Summary(); state {
	case model.DeploymentReady, model.DeploymentDegraded:
		p.succeed()
		return true, nil
	case model.DeploymentDeleting:
		return false, fault.New(fault.Precondition, "deployment %s was deleted meanwhile", name)
	case model.DeploymentFailed:
		if p.created { // as with Ollama, a pull that fails leaves nothing behind
			err = p.g.cfg.Manager.Delete(ctx, name)
		}
		return false, errors.Join(fault.New(fault.Unavailable, "%s", reason), err)
	case model.DeploymentPending:
		p.describe(&d)
	}
	return false, nil
}

// describe tells where the replicas of a deployment stand.
func (p *pull) describe(d *model.Deployment) {
	again := time.Since(p.toldAt) > pullRepeat
	if again {
		clear(p.told)
	}
	if len(d.Replicas) == 0 {
		p.tell("", progress{Status: progressOf(*d)})
	}
	for _, r := range d.Replicas {
		if r.State == model.Pulling && r.TotalBytes > 0 {
			sum := sha256.Sum256([]byte(r.ID))
			digest := hex.EncodeToString(sum[:])
			p.tell(r.ID, progress{Status: "pulling " + digest[:12], Digest: "sha256:" + digest, Total: r.TotalBytes, Completed: min(r.CompletedBytes, r.TotalBytes)})
			continue
		}
		r.ProgressPercent = 0 // told by bytes as soon as they are known
		p.tell(r.ID, progress{Status: replicaProgress(r)})
	}
}

// tell writes a line about a replica, unless it was the last one about it.
func (p *pull) tell(about string, line progress) {
	if last, ok := p.told[about]; ok && last == line {
		return
	}
	p.told[about] = line
	if !p.stream {
		return
	}
	data, err := json.Marshal(line)
	if err != nil { // plain fields always encode
		return
	}
	p.write(append(data, '\n'))
}

func (p *pull) write(data []byte) {
	if !p.begun {
		p.begun = true
		streamHeaders(p.w.Header(), "application/x-ndjson")
	}
	p.toldAt = time.Now()
	_, err := p.w.Write(data)
	p.left = err != nil || http.NewResponseController(p.w).Flush() != nil
}

func (p *pull) succeed() {
	if !p.stream {
		writeJSON(p.w, progress{Status: "success"})
		return
	}
	for about, line := range p.told {
		if line.Digest != "" && line.Completed < line.Total {
			line.Completed = line.Total
			p.tell(about, line)
		}
	}
	p.tell("", progress{Status: "success"})
}

func (p *pull) fail(err error) {
	failure := errManager(err)
	if p.begun {
		p.write(ollama.ErrorLine(failure.Message))
		return
	}
	ollamaAPI{}.writeError(p.w, failure)
}
