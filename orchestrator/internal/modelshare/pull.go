package modelshare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/shared/modelpull"
)

const (
	// MaxPulls bounds the nodes that get models, or have got them within Keep.
	MaxPulls = 256
	// maxPullLine bounds a line of progress, maxReason what is kept of its reason.
	maxPullLine = 16 << 10
	maxReason   = 1 << 10
)

// PullerConfig says what a Puller works with. All but the last two are required.
type PullerConfig struct {
	// Nodes gives the nodes that are connected, and Known whether there is such a node.
	Nodes func() []*node.Node
	Known func(nodeID string) bool
	// Deployments gives all deployments; what it gives is shared.
	Deployments func() []model.Deployment
	// Dial opens a connection to a node, as tunnel.Server.Dial does.
	Dial func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error)
	// Keep is how long a model is got and remembered after somebody asked. Default: 1 min.
	Keep time.Duration
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

// Puller has nodes get models that they do not serve. A node gets a model as long as somebody
// asks how far it is, so that nothing comes that nobody waits for.
type Puller struct {
	cfg    PullerConfig
	client *http.Client
	root   context.Context //nolint:containedctx // ends with Close
	end    context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex        // guards what follows
	models map[string]*pulls // by canonical name
	count  int               // of nodes among them
}

// pulls are the nodes that get a model.
type pulls struct {
	nodes map[string]*pull
	over  *time.Timer
}

// pull is a node that gets a model.
type pull struct {
	id     string
	now    modelpull.Progress
	cancel context.CancelFunc
}

// NodePull says how far a node is.
type NodePull struct {
	NodeID string
	modelpull.Progress
}

// NewPuller makes a Puller; Close ends it.
func NewPuller(cfg PullerConfig) *Puller {
	if cfg.Keep <= 0 {
		cfg.Keep = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Puller{cfg: cfg, client: newClient(cfg.Dial), models: make(map[string]*pulls)}
	p.root, p.end = context.WithCancel(context.Background())
	return p
}

// Close breaks off what is being got.
func (p *Puller) Close() {
	p.end()
	p.mu.Lock()
	for _, m := range p.models {
		m.over.Stop()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// Pull has nodes get a model, or goes on where they do; without nodes, every one that could
// serve the model and does not. Errors: Invalid, NotFound, Unavailable, Precondition and
// Exhausted.
func (p *Puller) Pull(name, image string, nodeIDs []string) ([]NodePull, error) {
	nodeIDs, err := p.choose(name, nodeIDs)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.models[canonical(name)]
	var begin []string
	for _, id := range nodeIDs {
		if m == nil || m.nodes[id] == nil || m.nodes[id].now.State != modelpull.Pulling {
			begin = append(begin, id)
		}
	}
	if p.count+len(begin) > MaxPulls {
		return nil, fault.New(fault.Exhausted, "%d nodes get models or have just got them; with %d more there would be more than %d: name fewer, or wait a minute",
			p.count, len(begin), MaxPulls)
	}
	if m == nil {
		m = &pulls{nodes: make(map[string]*pull)}
		m.over = time.AfterFunc(p.cfg.Keep, func() { p.forget(name, m) })
		p.models[canonical(name)] = m
	}
	for _, id := range begin {
		if m.nodes[id] == nil {
			p.count++
		}
		ctx, cancel := context.WithCancel(p.root)
		n := &pull{id: "pull-" + uuid.NewString(), now: modelpull.Progress{State: modelpull.Pulling}, cancel: cancel}
		m.nodes[id] = n
		p.wg.Go(func() { p.run(ctx, n, id, name, image) })
	}
	return p.lookLocked(m), nil
}

// Look answers how far the nodes are that get a model, or have got it. NotFound: there are
// none.
func (p *Puller) Look(name string) ([]NodePull, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.models[canonical(name)]
	if m == nil {
		return nil, fault.New(fault.NotFound, "no node was told to get the model %s, or nobody has asked how far it is for %s", name, p.cfg.Keep)
	}
	return p.lookLocked(m), nil
}

func (p *Puller) lookLocked(m *pulls) []NodePull {
	m.over.Reset(p.cfg.Keep)
	found := make([]NodePull, 0, len(m.nodes))
	for id, n := range m.nodes {
		found = append(found, NodePull{NodeID: id, Progress: n.now})
	}
	slices.SortFunc(found, func(a, b NodePull) int { return strings.Compare(a.NodeID, b.NodeID) })
	return found
}

// Model gives the model that a node gets by the name of the wish.
func (p *Puller) Model(nodeID, id string) (name string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, m := range p.models {
		if n := m.nodes[nodeID]; n != nil && n.id == id && n.now.State == modelpull.Pulling {
			return name, true
		}
	}
	return "", false
}

// forget ends what nobody asks for any more.
func (p *Puller) forget(name string, m *pulls) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.models[canonical(name)] != m {
		return
	}
	delete(p.models, canonical(name))
	p.count -= len(m.nodes)
	for _, n := range m.nodes {
		n.cancel()
	}
}

// choose gives the nodes that are to get a model.
func (p *Puller) choose(name string, wanted []string) ([]string, error) {
	able := make(map[string]bool) // whether it has a container engine, of those connected
	for _, n := range p.cfg.Nodes() {
		able[n.ID] = len(n.Capabilities.Runtimes) > 0
	}
	for _, id := range wanted {
		switch can, connected := able[id]; {
		case !connected && !p.cfg.Known(id):
			return nil, fault.New(fault.NotFound, "there is no node %q", id)
		case !connected:
			return nil, fault.New(fault.Unavailable, "node %s is not connected", id)
		case !can:
			return nil, fault.New(fault.Precondition, "node %s has no container engine: install Docker or Podman there", id)
		}
	}
	if len(wanted) > 0 {
		slices.Sort(wanted)
		return slices.Compact(wanted), nil
	}
	for _, d := range p.cfg.Deployments() {
		for _, r := range d.Replicas {
			if d.Spec.Engine == model.Ollama && canonical(d.Spec.Model) == canonical(name) && r.State == model.Ready {
				delete(able, r.NodeID)
			}
		}
	}
	for id, can := range able {
		if can {
			wanted = append(wanted, id)
		}
	}
	if len(wanted) == 0 {
		return nil, fault.New(fault.Precondition, "no node is connected that has a container engine and does not serve the model %s already", name)
	}
	return wanted, nil
}

// run has a node get a model and follows it to the end.
func (p *Puller) run(ctx context.Context, n *pull, nodeID, name, image string) {
	defer n.cancel()
	err := p.follow(ctx, n, nodeID, name, image)
	if err == nil {
		return
	}
	if ctx.Err() == nil {
		p.cfg.Logger.Warn("a node could not get a model", "node_id", nodeID, "model", name, "error", err)
	}
	reason := "internal error"
	var known *fault.Error
	if errors.As(err, &known) {
		reason = known.Public()
	}
	p.tell(n, modelpull.Progress{State: modelpull.Failed, Reason: reason})
}

// tell remembers how far a node is. What has come is not forgotten by a failure.
func (p *Puller) tell(n *pull, now modelpull.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now.CompletedBytes = max(now.CompletedBytes, n.now.CompletedBytes)
	now.TotalBytes = max(now.TotalBytes, n.now.TotalBytes, now.CompletedBytes)
	now.Percent = min(max(now.Percent, n.now.Percent), 100)
	if now.State == modelpull.Pulled {
		now.Percent = 100
	}
	now.Reason = strings.ToValidUTF8(now.Reason[:min(len(now.Reason), maxReason)], "")
	n.now = now
}

// follow asks a node and reads its lines. nil: it has said how it ended.
func (p *Puller) follow(ctx context.Context, n *pull, nodeID, name, image string) error {
	query := url.Values{"id": {n.id}, "model": {name}}
	if image != "" {
		query.Set("image", image)
	}
	target := url.URL{Scheme: "http", Host: hostOf(nodeID), Path: "/models/pull", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("ask a node to get a model: %w", err)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "node %s does not answer", nodeID)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 512)) // for the message only
		if res.StatusCode == http.StatusNotFound {
			return fault.New(fault.Precondition, "the node agent of %s cannot get models alone: update it", nodeID)
		}
		return fault.New(fault.Unavailable, "node %s: %s", nodeID, bytes.TrimSpace(text))
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxPullLine)
	for lines.Scan() {
		var now modelpull.Progress
		if err := json.Unmarshal(lines.Bytes(), &now); err != nil {
			return fault.Wrap(fault.Unavailable, err, "node %s says what is not understood", nodeID)
		}
		switch now.State {
		case modelpull.Pulling:
			p.tell(n, now)
		case modelpull.Pulled, modelpull.Failed:
			p.tell(n, now)
			return nil
		default:
			return fault.New(fault.Unavailable, "node %s says that it is %.20q", nodeID, now.State)
		}
	}
	return fault.Wrap(fault.Unavailable, lines.Err(), "node %s broke off; what has come is kept there", nodeID)
}
