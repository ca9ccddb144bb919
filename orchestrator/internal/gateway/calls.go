package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

type callerKey struct{}

// callServer serves the connections that jobs make to the gateway.
type callServer struct {
	mu     sync.Mutex    // guards what follows
	server *http.Server  // nil: not started
	done   chan struct{} // closed when Serve has returned
}

// Start serves the gateway on a listener of tunnel.CallConn, the connections
// of jobs, until Stop. It returns at once.
func (g *Gateway) Start(calls net.Listener) {
	server := &http.Server{
		Handler:           http.HandlerFunc(g.serveJob),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Nothing is answered that serveJob does not see.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			// A connection without a caller stays one that may call nothing.
			caller := tunnel.Caller{}
			if conn, ok := c.(*tunnel.CallConn); ok {
				caller = conn.Caller
			}
			return context.WithValue(ctx, callerKey{}, caller)
		},
	}
	done := make(chan struct{})
	g.jobs.mu.Lock()
	g.jobs.server, g.jobs.done = server, done
	g.jobs.mu.Unlock()
	go func() {
		defer close(done)
		if err := server.Serve(calls); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			g.log.Error("gateway for jobs stopped", "error", err)
		}
	}()
}

// serveJob serves a request of a job. One whose body another parser may have seen end
// elsewhere is the last on its connection, as at the orchestrator's own port.
func (g *Gateway) serveJob(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength < 0 || !r.ProtoAtLeast(1, 1) {
		w.Header().Set("Connection", "close")
	}
	g.ServeHTTP(w, r)
}

// Stop ends what Start began: requests of jobs may finish until ctx is done and
// are broken off then. It may be called twice, and without Start.
func (g *Gateway) Stop(ctx context.Context) {
	g.jobs.mu.Lock()
	server, done := g.jobs.server, g.jobs.done
	g.jobs.mu.Unlock()
	if server != nil {
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close() // it only closes connections
		}
		<-done
	}
	g.Close()
}

// mayCall says why the request's sender may not call a model; nil: it may. Only
// jobs are bounded so far.
func (g *Gateway) mayCall(ctx context.Context, name string) *apiError {
	caller, ok := ctx.Value(callerKey{}).(tunnel.Caller)
	if !ok {
		return nil
	}
	allowed, ok := g.cfg.JobModels(caller.NodeID, caller.Ref)
	if !ok {
		return errAttemptOver()
	}
	if !slices.ContainsFunc(allowed, func(a string) bool { return sameModel(a, name) }) {
		return errModelNotAllowed(name, allowed)
	}
	return nil
}
