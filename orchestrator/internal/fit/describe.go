package fit

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/shared/modelfit"
)

// Dial opens a connection to a node.
type Dial func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error)

const (
	// askTimeout is how long a node may take.
	askTimeout = 35 * time.Second
	// maxAsked is how many nodes are asked one after another.
	maxAsked = 3
	// maxAnswer bounds what a node says of a model.
	maxAnswer = 64 << 10
	maxKnown  = 1024
)

// question is what is asked of nodes.
type question struct {
	engine model.Engine
	model  string
}

type entry struct {
	model  modelfit.Model
	nodeID string
	err    error
	until  time.Time
}

// cache remembers answers.
type cache struct {
	mu      sync.Mutex // guards entries
	entries map[question]entry
}

func (c *cache) get(q question, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	return e, ok && now.Before(e.until)
}

// old gets an answer however old it is.
func (c *cache) old(q question) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	return e, ok && e.err == nil
}

func (c *cache) put(q question, e entry, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxKnown {
		for old, known := range c.entries {
			if !now.Before(known.until) {
				delete(c.entries, old)
			}
		}
	}
	for old := range c.entries { // whichever
		if len(c.entries) < maxKnown {
			break
		}
		delete(c.entries, old)
	}
	c.entries[q] = e
}

// newClient makes the client that asks nodes: its hosts are their ids.
func newClient(dial Dial) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, fmt.Errorf("the address of a node: %w", err)
				}
				id, err := hex.DecodeString(host)
				if err != nil {
					return nil, fmt.Errorf("the address of a node: %w", err)
				}
				return dial(ctx, string(id), tunnel.Target{ModelFiles: true})
			},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// describe answers what a model is, from memory or from a node. Those who ask for the
// same at once wait for one answer.
func (f *Fitter) describe(ctx context.Context, q question) (modelfit.Model, string, error) {
	if e, ok := f.known.get(q, time.Now()); ok {
		return e.model, e.nodeID, e.err
	}
	result := f.begin(ctx, q)
	select {
	case <-ctx.Done():
		return modelfit.Model{}, "", ctx.Err()
	case r := <-result:
		e, ok := r.Val.(entry)
		if !ok {
			return modelfit.Model{}, "", errors.New("nothing was found out about the model")
		}
		return e.model, e.nodeID, e.err
	}
}

// begin has nodes asked, unless they are already.
func (f *Fitter) begin(ctx context.Context, q question) <-chan singleflight.Result {
	return f.asking.DoChan(fmt.Sprintf("%d %s", q.engine, q.model), func() (any, error) {
		// Also for those who come later: it does not end with the first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout*maxAsked)
		defer cancel()
		e := f.ask(ctx, q)
		now := time.Now()
		e.until = now.Add(f.cfg.Keep)
		if e.err != nil {
			e.until = now.Add(f.cfg.KeepFailure)
		}
		f.known.put(q, e, now)
		return e, nil
	})
}

// ask asks some nodes, those first that have the model.
func (f *Fitter) ask(ctx context.Context, q question) entry {
	nodes := f.whom(q)
	if len(nodes) == 0 {
		return entry{err: fault.New(fault.Unavailable, "no node is connected that could find out what the model %s needs", q.model)}
	}
	var failed error
	for _, nodeID := range nodes {
		m, err := f.askNode(ctx, nodeID, q)
		if err == nil {
			return entry{model: m, nodeID: nodeID}
		}
		// That one cannot find it does not mean that it is not there; that the name
		// is wrong does.
		if failed == nil || fault.CodeOf(failed) == fault.Unavailable {
			failed = err
		}
		if fault.CodeOf(err) == fault.Invalid || ctx.Err() != nil {
			break
		}
	}
	return entry{err: failed}
}

// whom answers whom to ask: those that serve the model or whose engines list it, then
// others.
func (f *Fitter) whom(q question) []string {
	serving := f.serving(Ask{Engine: q.engine, Model: q.model})
	var have, others []string
	for _, s := range f.cfg.Space() {
		if !s.Connected {
			continue
		}
		has := serving[s.Node.ID]
		for _, engine := range s.Node.Capabilities.Engines {
			has = has || slices.ContainsFunc(engine.Models, func(name string) bool { return sameModel(name) == sameModel(q.model) })
		}
		if has {
			have = append(have, s.Node.ID)
		} else {
			others = append(others, s.Node.ID)
		}
	}
	all := append(have, others...)
	return all[:min(len(all), maxAsked)]
}

// askNode asks one node. Errors: Invalid, NotFound, Unavailable.
func (f *Fitter) askNode(ctx context.Context, nodeID string, q question) (modelfit.Model, error) {
	var none modelfit.Model
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	target := url.URL{
		Scheme: "http", Host: hex.EncodeToString([]byte(nodeID)), Path: "/models/describe",
		RawQuery: url.Values{"engine": {q.engine.String()}, "model": {q.model}}.Encode(),
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return none, fmt.Errorf("ask for a model: %w", err)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return none, fault.Wrap(fault.Unavailable, err, "node %s could not be asked what the model %s needs", nodeID, q.model)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return none, fault.Wrap(fault.Unavailable, err, "node %s broke off when asked what the model %s needs", nodeID, q.model)
	}
	said := prose(data)
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode == http.StatusBadRequest:
		return none, fault.BadField("model", "%s", strings.TrimPrefix(said, "invalid: model: "))
	case res.StatusCode == http.StatusNotFound && strings.HasPrefix(said, "404 page"):
		return none, fault.New(fault.Unavailable, "the agent of node %s cannot tell what models need; update it", nodeID)
	case res.StatusCode == http.StatusNotFound:
		return none, fault.New(fault.NotFound, "model %s: node %s says: %s", q.model, nodeID, said)
	default:
		return none, fault.New(fault.Unavailable, "node %s could not find out what the model %s needs: %s", nodeID, q.model, said)
	}
	var m modelfit.Model
	if err := json.Unmarshal(data, &m); err != nil {
		return none, fault.New(fault.Unavailable, "node %s answered what is no description of the model %s", nodeID, q.model)
	}
	if err := m.Check(); err != nil {
		return none, fault.New(fault.Unavailable, "node %s says of the model %s what cannot be: %v", nodeID, q.model, err)
	}
	m.Source, m.Architecture, m.Quantization = prose([]byte(m.Source)), prose([]byte(m.Architecture)), prose([]byte(m.Quantization))
	return m, nil
}

// prose is what a node says, short and on one line.
func prose(data []byte) string {
	data = bytes.TrimSpace(data[:min(len(data), 400)])
	text := strings.ToValidUTF8(string(data), "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
}
