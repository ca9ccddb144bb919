// Package fit answers where a model could run and how fast. It has a node find out
// what the model is, and holds what that needs against what the nodes have left.
package fit

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/shared/modelfit"
)

// Config says what a Fitter works with. Space, Deployments and Dial are required.
type Config struct {
	// Space gives what active nodes have left.
	Space func() []scheduler.Space
	// Deployments gives all deployments; what it gives is shared.
	Deployments func() []model.Deployment
	// Dial opens a connection to a node, as tunnel.Server.Dial does.
	Dial Dial
	// Measured answers how fast nodes served some models lately, by their ids.
	// Default: nothing was measured.
	Measured func(of func(model string) bool) map[string]meter.Speed
	// Keep is how long it is remembered what a model is. Default: 1 h.
	Keep time.Duration
	// KeepFailure is how long it is remembered that this could not be found out.
	// Default: 10 s.
	KeepFailure time.Duration
}

// Fitter finds out what models need. It is safe for concurrent use.
type Fitter struct {
	cfg    Config
	client *http.Client
	asking singleflight.Group
	known  cache
}

// New makes a Fitter.
func New(cfg Config) *Fitter {
	if cfg.Measured == nil {
		cfg.Measured = func(func(string) bool) map[string]meter.Speed { return nil }
	}
	cfg.Keep = cmp.Or(cfg.Keep, time.Hour)
	cfg.KeepFailure = cmp.Or(cfg.KeepFailure, 10*time.Second)
	return &Fitter{cfg: cfg, client: newClient(cfg.Dial), known: cache{entries: make(map[question]entry)}}
}

// Ask says what somebody wants to know.
type Ask struct {
	Model  string
	Engine model.Engine
	// Context and Parallel are those of modelfit.Load; 0: the engine's default.
	Context  int64
	Parallel int64
}

// Answer says what a model needs and where it fits.
type Answer struct {
	Ask // with the defaults

	Metadata modelfit.Model
	// NodeID is of the node that said so.
	NodeID string
	Need   modelfit.Need
	// Nodes are all that are there, the best first.
	Nodes []NodeFit
}

// defaultContext is what Ollama gives a conversation unless it is told otherwise.
const defaultContext = 4096

// Fit answers an Ask. Errors: Invalid, naming the field; NotFound when there is no
// such model; Unavailable when no node could find out.
func (f *Fitter) Fit(ctx context.Context, ask Ask) (Answer, error) {
	switch {
	case ask.Context < 0 || ask.Context > modelfit.MaxContext:
		return Answer{}, fault.BadField("context", "is %d; it must be from 1 to %d, or 0 for the engine's default", ask.Context, modelfit.MaxContext)
	case ask.Parallel < 0 || ask.Parallel > modelfit.MaxParallel:
		return Answer{}, fault.BadField("parallel", "is %d; it must be from 1 to %d, or 0 for one", ask.Parallel, modelfit.MaxParallel)
	}
	m, nodeID, err := f.describe(ctx, question{ask.Engine, ask.Model})
	if err != nil {
		return Answer{}, err
	}
	ask.Parallel = max(ask.Parallel, 1)
	if ask.Context == 0 {
		ask.Context = defaultContext
		if ask.Engine == model.VLLM {
			ask.Context = cmp.Or(m.ContextLength, defaultContext)
		} else if m.ContextLength > 0 {
			ask.Context = min(ask.Context, m.ContextLength)
		}
	}
	if m.ContextLength > 0 && ask.Context > m.ContextLength {
		return Answer{}, fault.BadField("context", "is %d; %s can have at most %d", ask.Context, ask.Model, m.ContextLength)
	}
	a := Answer{Ask: ask, Metadata: m, NodeID: nodeID, Need: m.Need(modelfit.Load{Context: ask.Context, Parallel: ask.Parallel})}
	serving, name := f.serving(ask), sameModel(ask.Model)
	measured := f.cfg.Measured(func(model string) bool { return sameModel(model) == name })
	for _, space := range f.cfg.Space() {
		n := place(&a, &space)
		n.Serving = serving[n.NodeID]
		if n.Serving && n.Place == None {
			n.Reason = "serves it already, in a part of the memory that is used; " + n.Reason
		}
		n.speed(&a, &space, measured[n.NodeID])
		a.Nodes = append(a.Nodes, n)
	}
	slices.SortStableFunc(a.Nodes, better)
	return a, nil
}

// better orders by how well the model fits, then by speed.
func better(a, b NodeFit) int {
	return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(b.TokensPerSecond, a.TokensPerSecond),
		cmp.Compare(a.MissingBytes, b.MissingBytes), cmp.Compare(b.GPUFreeBytes, a.GPUFreeBytes),
		cmp.Compare(b.MemoryFreeBytes, a.MemoryFreeBytes), strings.Compare(a.NodeID, b.NodeID))
}

// serving are the nodes that serve the model.
func (f *Fitter) serving(ask Ask) map[string]bool {
	nodes := make(map[string]bool)
	for _, d := range f.cfg.Deployments() {
		if d.Spec.Engine != ask.Engine || sameModel(d.Spec.Model) != sameModel(ask.Model) {
			continue
		}
		for _, r := range d.Replicas {
			if r.State == model.Ready && !r.Remove {
				nodes[r.NodeID] = true
			}
		}
	}
	return nodes
}

// sameModel is a name with what it implies.
func sameModel(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "registry.ollama.ai/"), "library/")
	if !strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		name += ":latest"
	}
	return strings.ToLower(name)
}

// speed says how fast the model is or would be on a node.
func (n *NodeFit) speed(a *Answer, space *scheduler.Space, measured meter.Speed) {
	switch {
	case measured.Calls == 1:
		n.TokensPerSecond, n.SpeedSource = measured.TokensPerSecond, "measured, 1 call"
	case measured.Calls > 1:
		n.TokensPerSecond, n.SpeedSource = measured.TokensPerSecond, fmt.Sprintf("measured, %d calls", measured.Calls)
	case n.Place == OnGPU: // of a machine's own memory the bandwidth is not known
		gpus := n.gpus(a, space)
		if rate := bandwidth(gpus); rate > 0 {
			n.TokensPerSecond = rate / float64(a.Metadata.BytesPerToken())
			n.SpeedSource = "estimated: at most, by the memory bandwidth of " + gpus[0].Model
		}
	}
}
