// Package modelshare brings models from the nodes that have them to those that
// are to serve them, so that a model comes over the internet once. The files
// pass through the orchestrator, on the connections that the nodes opened, and
// nothing of them stays there.
//
// Who finds that nobody has a model is told to get it from outside, and the
// others wait for it as long as it comes along.
package modelshare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// Config says what a Broker works with. Deployments and Dial are required.
type Config struct {
	// Deployments gives all deployments; what it gives is shared.
	Deployments func() []model.Deployment
	// Dial opens a connection to a node, as tunnel.Server.Dial does.
	Dial func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error)
	// Pulls gives the model that a node gets without serving it, by the name of the wish.
	// Default: nodes get none.
	Pulls func(nodeID, id string) (model string, ok bool)
	// Stalled is how long whoever gets a model from outside may make no progress
	// before others stop waiting for it. Default: 1 min.
	Stalled time.Duration
	// Look is how often those that wait look again. Default: 500 ms.
	Look time.Duration
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

// Broker finds sources for the files of models.
type Broker struct {
	cfg    Config
	client *http.Client

	mu       sync.Mutex         // guards what follows
	fetchers map[string]fetcher // who gets a model from outside, by model
	sending  map[string]int     // files that a node sends now
}

// fetcher gets a model from outside.
type fetcher struct {
	replicaID string
	nodeID    string
	got       int64 // bytes, when they were last seen to grow
	at        time.Time
}

// New makes a broker.
func New(cfg Config) *Broker {
	if cfg.Pulls == nil {
		cfg.Pulls = func(string, string) (string, bool) { return "", false }
	}
	if cfg.Stalled <= 0 {
		cfg.Stalled = time.Minute
	}
	if cfg.Look <= 0 {
		cfg.Look = 500 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{cfg: cfg, fetchers: make(map[string]fetcher), sending: make(map[string]int)}
	b.client = newClient(cfg.Dial)
	return b
}

// newClient makes a client whose hosts are nodes.
func newClient(dial func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				nodeID, err := nodeOf(addr)
				if err != nil {
					return nil, err
				}
				return dial(ctx, nodeID, tunnel.Target{ModelFiles: true})
			},
			// A stream is cheap to open, and seldom needed again.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			ResponseHeaderTimeout:  30 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Ask says what a node wants.
type Ask struct {
	NodeID    string
	ReplicaID string
	Digest    string // empty: the manifest
	Offset    int64
}

// File is a file of a model, from Offset on.
type File struct {
	NodeID string // where it comes from
	Total  int64  // bytes of the whole file
	io.ReadCloser
}

// Open finds a node that has the file and begins to read it. awaited is called
// when it waits for another node, once for each. Errors: Precondition when the
// node is not to serve the replica; NotFound when it should get the model from
// outside; Unavailable when the source is lost.
func (b *Broker) Open(ctx context.Context, ask Ask, awaited func(nodeID string)) (*File, error) {
	told := ""
	for {
		wanted, ok := b.replica(ask)
		if !ok {
			return nil, fault.New(fault.Precondition, "node %s is not to serve a replica %s", ask.NodeID, ask.ReplicaID)
		}
		if source, found := b.source(wanted); found {
			b.forget(wanted)
			return b.open(ctx, ask, source)
		}
		if wanted.pulled { // nobody waits for it, since nobody will serve it there
			return nil, noNodeHas(wanted.model)
		}
		nodeID, wait := b.await(wanted, time.Now())
		if !wait {
			return nil, noNodeHas(wanted.model)
		}
		if told != nodeID {
			told = nodeID
			awaited(nodeID)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(b.cfg.Look):
		}
	}
}

func noNodeHas(model string) error {
	return fault.New(fault.NotFound, "no node has the model %s: get it from outside", model)
}

// wanted is the replica that a node asks for.
type wanted struct {
	model.Replica

	model  string // by its canonical name
	pulled bool   // only its files are wanted: it is no replica of a deployment
}

// replica finds the replica that is asked for.
func (b *Broker) replica(ask Ask) (wanted, bool) {
	for _, d := range b.cfg.Deployments() {
		if d.Spec.Engine != model.Ollama {
			continue
		}
		for _, r := range d.Replicas {
			if r.ID == ask.ReplicaID && r.NodeID == ask.NodeID && !r.Remove {
				return wanted{Replica: r, model: canonical(d.Spec.Model)}, true
			}
		}
	}
	if name, ok := b.cfg.Pulls(ask.NodeID, ask.ReplicaID); ok {
		return wanted{Replica: model.Replica{ID: ask.ReplicaID, NodeID: ask.NodeID}, model: canonical(name), pulled: true}, true
	}
	return wanted{}, false
}

// source finds the replica to copy from: of those that serve the model the one
// whose node sends the least now.
func (b *Broker) source(w wanted) (model.Replica, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best model.Replica
	b.eachOther(w, func(r model.Replica) {
		if r.State == model.Ready && (best.ID == "" || b.sending[r.NodeID] < b.sending[best.NodeID]) {
			best = r
		}
	})
	return best, best.ID != ""
}

// eachOther calls f for each replica of the same model that other nodes are to
// serve.
func (b *Broker) eachOther(w wanted, f func(model.Replica)) {
	for _, d := range b.cfg.Deployments() {
		if d.Spec.Engine != model.Ollama || canonical(d.Spec.Model) != w.model {
			continue
		}
		for _, r := range d.Replicas {
			if r.NodeID != "" && r.NodeID != w.NodeID && !r.Remove {
				f(r)
			}
		}
	}
}

// await says for whom to wait; false: for nobody, and then it is this replica
// for whom the others wait.
func (b *Broker) await(w wanted, now time.Time) (nodeID string, wait bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.fetchers[w.model]
	if ok && known.nodeID != w.NodeID {
		b.eachOther(w, func(r model.Replica) {
			if r.ID != known.replicaID || r.State == model.Failed {
				return
			}
			if r.CompletedBytes > known.got {
				known.got, known.at = r.CompletedBytes, now
				b.fetchers[w.model] = known
			}
			wait = now.Sub(known.at) < b.cfg.Stalled
		})
		if wait {
			return known.nodeID, true
		}
	}
	b.fetchers[w.model] = fetcher{replicaID: w.ID, nodeID: w.NodeID, got: w.CompletedBytes, at: now}
	return "", false
}

// forget says that a model need not be got from outside any more.
func (b *Broker) forget(w wanted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.fetchers, w.model)
}

// open begins to read the file from a source.
func (b *Broker) open(ctx context.Context, ask Ask, source model.Replica) (*File, error) {
	target := url.URL{Scheme: "http", Host: hostOf(source.NodeID), Path: "/replicas/" + source.ID + "/manifest"}
	if ask.Digest != "" {
		target.Path = "/replicas/" + source.ID + "/blobs/" + ask.Digest
		target.RawQuery = "offset=" + strconv.FormatInt(ask.Offset, 10)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask for a file of a model: %w", err)
	}
	b.count(source.NodeID, 1)
	res, err := b.client.Do(req)
	if err != nil {
		b.count(source.NodeID, -1)
		return nil, fault.Wrap(fault.Unavailable, err, "node %s does not give the file", source.NodeID)
	}
	if res.StatusCode != http.StatusOK || res.ContentLength < 0 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 512)) // for the message only
		res.Body.Close()
		b.count(source.NodeID, -1)
		return nil, fault.New(fault.Unavailable, "node %s does not give the file: %s %s", source.NodeID, res.Status, bytes.TrimSpace(text))
	}
	b.cfg.Logger.InfoContext(ctx, "a file of a model goes from node to node", "from", source.NodeID, "to", ask.NodeID,
		"digest", ask.Digest, "offset", ask.Offset, "bytes", res.ContentLength)
	return &File{
		NodeID: source.NodeID, Total: ask.Offset + res.ContentLength,
		ReadCloser: &counted{ReadCloser: res.Body, done: sync.OnceFunc(func() { b.count(source.NodeID, -1) })},
	}, nil
}

// count counts the files that a node sends.
func (b *Broker) count(nodeID string, by int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sending[nodeID] += by; b.sending[nodeID] <= 0 {
		delete(b.sending, nodeID)
	}
}

// counted is a body that is counted until it is closed.
type counted struct {
	io.ReadCloser

	done func()
}

func (c *counted) Close() error {
	c.done()
	return c.ReadCloser.Close()
}

// canonical writes a model's name with its tag, and without what Ollama implies.
func canonical(name string) string {
	name = strings.TrimPrefix(name, "registry.ollama.ai/")
	name = strings.TrimPrefix(name, "library/")
	if !strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		name += ":latest"
	}
	return strings.ToLower(name)
}
