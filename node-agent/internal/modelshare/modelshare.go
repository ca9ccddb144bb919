// Package modelshare gives the files of this node's models to other nodes, over
// connections of the tunnel that the orchestrator asked for:
//
//	GET /replicas/{id}/manifest
//	GET /replicas/{id}/blobs/{digest}?offset=N
//
// A file comes with its length, from the offset on. Only the files of models
// that replicas of this node serve are given. Questions about models, wherever
// they are, come over the same connections:
//
//	GET /models/describe
//
// and so does the wish that this node get a model, for replicas to come:
//
//	POST /models/pull?id=ID&model=MODEL&image=IMAGE
package modelshare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/orchion/orchion/shared/streamconn"
)

// Source has the files of the models that this node's replicas serve.
type Source interface {
	// CopyFile copies a file of a replica's model from an offset on: its manifest
	// when digest is empty. begin is called once with the size of the whole file
	// and answers where to write. ErrNoFile when there is no such file.
	CopyFile(ctx context.Context, replicaID, digest string, offset int64, begin func(total int64) (io.Writer, error)) error
}

// ErrNoFile says that a replica is not served here, or has no such file.
var ErrNoFile = errors.New("this node has no such file of a model")

// Config says how a Server works.
type Config struct {
	// Source is nil when no files are given.
	Source Source
	// Describe answers questions about models; nil: nobody does.
	Describe http.Handler
	// Pull gets models for this node; nil: it gets none.
	Pull Pull
	// MaxPulling bounds the models that are got at once. Default: 2.
	MaxPulling int
	// Rate bounds all that is given, in bytes a second; 0: as much as goes.
	Rate int64
	// MaxSending bounds the files that are given at once. Default: 4.
	MaxSending int
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

// Server gives files of models.
type Server struct {
	cfg     Config
	server  *http.Server
	conns   *connListener
	limiter *rate.Limiter
	places  chan struct{}
	served  chan struct{} // closed when nothing is served any more
	pulling chan struct{}
	pulls   sync.WaitGroup
}

// burst is the most bytes that are written at once.
const burst = streamconn.BulkFrame

// New makes a server; Close ends it.
func New(cfg Config) *Server {
	if cfg.MaxSending <= 0 {
		cfg.MaxSending = 4
	}
	if cfg.MaxPulling <= 0 {
		cfg.MaxPulling = 2
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	limit := rate.Inf
	if cfg.Rate > 0 {
		limit = rate.Limit(cfg.Rate)
	}
	s := &Server{
		cfg: cfg, conns: newConnListener(), limiter: rate.NewLimiter(limit, burst),
		places: make(chan struct{}, cfg.MaxSending), served: make(chan struct{}), pulling: make(chan struct{}, cfg.MaxPulling),
	}
	mux := http.NewServeMux()
	if cfg.Source != nil {
		mux.HandleFunc("GET /replicas/{id}/manifest", s.give)
		mux.HandleFunc("GET /replicas/{id}/blobs/{digest}", s.give)
	}
	if cfg.Describe != nil {
		mux.Handle("GET /models/describe", cfg.Describe)
	}
	if cfg.Pull != nil {
		mux.HandleFunc("POST /models/pull", s.pull)
	}
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(s.conns) // ends with Close
	}()
	return s
}

// Serve serves a connection; it returns at once. After Close it closes it.
func (s *Server) Serve(conn net.Conn) { s.conns.give(conn) }

// Close breaks off what is being given and got. It may be called twice.
func (s *Server) Close() {
	_ = s.server.Close() // closes connections, no more
	<-s.served
	s.pulls.Wait()
}

func (s *Server) give(w http.ResponseWriter, r *http.Request) {
	offset := int64(0)
	if text := r.URL.Query().Get("offset"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "offset must be a number of bytes", http.StatusBadRequest)
			return
		}
		offset = n
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		http.Error(w, fmt.Sprintf("%d files are being given already, the most at once", cap(s.places)), http.StatusServiceUnavailable)
		return
	}
	begun := false
	var out *bufio.Writer // so that much goes out at once, however little is read at once
	err := s.cfg.Source.CopyFile(r.Context(), r.PathValue("id"), r.PathValue("digest"), offset, func(total int64) (io.Writer, error) {
		if offset > total {
			return nil, fmt.Errorf("the file has %d bytes, and %d were to be left out", total, offset)
		}
		begun = true
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(total-offset, 10))
		out = bufio.NewWriterSize(&slowWriter{ctx: r.Context(), w: w, limiter: s.limiter}, burst)
		return out, nil
	})
	if err == nil && begun {
		err = out.Flush()
	}
	switch {
	case err == nil || r.Context().Err() != nil:
	case begun:
		s.cfg.Logger.Warn("a file of a model could not be given to its end", "replica", r.PathValue("id"), "digest", r.PathValue("digest"), "error", err)
		panic(http.ErrAbortHandler) // the length is out: only a broken connection tells
	case errors.Is(err, ErrNoFile):
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// slowWriter writes no faster than the limiter lets it.
type slowWriter struct {
	ctx     context.Context //nolint:containedctx // of the one request that it writes for
	w       io.Writer
	limiter *rate.Limiter
}

func (s *slowWriter) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		part := p[written:min(len(p), written+burst)]
		if err := s.limiter.WaitN(s.ctx, len(part)); err != nil {
			return written, err
		}
		n, err := s.w.Write(part)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// connListener hands connections that are there already to an http.Server.
type connListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newConnListener() *connListener {
	return &connListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *connListener) give(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.closed:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (l *connListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *connListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *connListener) Addr() net.Addr { return listenerAddr{} }

type listenerAddr struct{}

func (listenerAddr) Network() string { return "orchion-tunnel" }
func (listenerAddr) String() string  { return "model files" }
