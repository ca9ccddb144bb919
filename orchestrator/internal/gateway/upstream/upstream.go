// Package upstream is the gateway's HTTP/1.1 client of engines. It speaks over
// whatever connection it is given, writes a request at once, reads the answer in
// the caller's goroutine, and hands pieces of it out of the buffer they were read
// into.
//
// It is strict where HTTP parsers disagree, because an answer that two parties
// divide in different places can carry another: lines end with CRLF, lengths are
// given once and in one way, names and values have no odd bytes. There is no bound
// on the connections of an engine; only those that wait unused are bounded.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Key names an engine. Connections are kept for each.
type Key struct {
	NodeID, ReplicaID, Endpoint string
}

// Config says how a Client works. Dial is required.
type Config struct {
	// Dial opens a connection to an engine.
	Dial func(ctx context.Context, key Key) (net.Conn, error)
	// FirstByteTimeout bounds the time from a request to the head of its answer.
	// Default: 10 min.
	FirstByteTimeout time.Duration
	// IdleTimeout is how long an unused connection is kept. Default: 90 s.
	IdleTimeout time.Duration
	// MaxIdle bounds the unused connections of one engine. Default: 1024.
	MaxIdle int
}

func (c *Config) applyDefaults() {
	if c.FirstByteTimeout <= 0 {
		c.FirstByteTimeout = 10 * time.Minute
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 90 * time.Second
	}
	if c.MaxIdle <= 0 {
		c.MaxIdle = 1024
	}
}

// Client asks engines and keeps connections to them.
type Client struct {
	cfg Config

	mu     sync.Mutex      // guards what follows
	idle   map[Key][]*conn // the one used last is the last
	sweep  *time.Timer     // closes what is idle for too long; nil: nothing is idle
	closed bool
}

// New makes a client. It panics without a Dial, which is a mistake of the
// program.
func New(cfg Config) *Client {
	cfg.applyDefaults()
	if cfg.Dial == nil {
		panic("upstream: Config needs Dial")
	}
	return &Client{cfg: cfg, idle: make(map[Key][]*conn)}
}

// Close closes the connections that are not in use; those in use are closed when
// they are no more. It may be called twice.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.sweep != nil {
		c.sweep.Stop()
		c.sweep = nil
	}
	for key, conns := range c.idle {
		for _, unused := range conns {
			unused.abort()
		}
		delete(c.idle, key)
	}
}

// errNoAnswer says that a connection ended before a byte of an answer came.
var errNoAnswer = errors.New("the connection ended before the answer")

// Do asks an engine and gives what it answers, whose body the caller must close.
// What is sent into a kept connection that turns out to have ended before a byte
// of the answer is sent again, once, over a new one. The errors of Dial come back
// as they are, past a time limit one with Timeout, and else what was wrong with
// the answer.
func (c *Client) Do(ctx context.Context, key Key, req *Request) (*Response, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if kept := c.take(key); kept != nil {
		res, err := kept.roundTrip(ctx, req)
		if err == nil || !errors.Is(err, errNoAnswer) || ctx.Err() != nil {
			return res, err
		}
	}
	netConn, err := c.cfg.Dial(ctx, key)
	if err != nil {
		return nil, err
	}
	return newConn(c, key, netConn).roundTrip(ctx, req)
}

// take gives a kept connection of an engine that seems to be alive, or nil.
func (c *Client) take(key Key) *conn {
	for {
		c.mu.Lock()
		conns := c.idle[key]
		if len(conns) == 0 {
			c.mu.Unlock()
			return nil
		}
		last := conns[len(conns)-1]
		conns[len(conns)-1] = nil
		c.idle[key] = conns[:len(conns)-1]
		c.mu.Unlock()
		if !last.isStale() {
			return last
		}
		last.abort()
	}
}

// keep takes a connection back for the next request.
func (c *Client) keep(unused *conn) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	conns := c.idle[unused.key]
	if c.closed || len(conns) >= c.cfg.MaxIdle {
		unused.abort()
		return
	}
	unused.idleSince = now
	c.idle[unused.key] = append(conns, unused)
	if c.sweep == nil {
		c.sweep = time.AfterFunc(c.cfg.IdleTimeout, c.closeIdle)
	}
}

// closeIdle closes what has been idle for too long.
func (c *Client) closeIdle() {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	var next time.Time // when the next one will have been
	for key, conns := range c.idle {
		kept := conns
		for len(kept) > 0 && now.Sub(kept[0].idleSince) >= c.cfg.IdleTimeout {
			kept[0].abort()
			kept[0] = nil
			kept = kept[1:]
		}
		if len(kept) == 0 {
			delete(c.idle, key)
			continue
		}
		c.idle[key] = kept
		if due := kept[0].idleSince.Add(c.cfg.IdleTimeout); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	if next.IsZero() {
		c.sweep = nil
		return
	}
	c.sweep.Reset(max(next.Sub(now), time.Second))
}

// Request is what an engine is asked.
type Request struct {
	Method string
	// Target is the path, escaped, with the query if there is one.
	Target string
	Host   string
	Header []Field
	Body   []byte
}

// Field is one header.
type Field struct{ Name, Value string }

// check keeps what would end a line out of the head of a request.
func (r *Request) check() error {
	if r.Method == "" || r.Target == "" || r.Target[0] != '/' || !isVisible(r.Method) || !isVisible(r.Target) || !isVisible(r.Host) {
		return fmt.Errorf("a request cannot have the method %q, target %q and host %q", r.Method, r.Target, r.Host)
	}
	for _, f := range r.Header {
		if !isName(f.Name) || !isValue(f.Value) {
			return fmt.Errorf("a request cannot have the header %q with %q", f.Name, f.Value)
		}
	}
	return nil
}
