package joblink

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/shared/streamconn"
)

// Link is one attempt's way to the gateway. One goroutine keeps it connected
// until Detach or Close.
type Link struct {
	links     *Links
	log       *slog.Logger
	forwarder string // the container's id
	token     []byte
	jobID     string
	attempt   int

	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu    sync.Mutex     // guards what follows
	over  bool           // no more connections are served
	calls sync.WaitGroup // connections being served; Add only under mu and while not over
}

// attach connects to a forwarder that runs and keeps the connection up.
func (l *Links) attach(ctx context.Context, id, token, jobID string, attempt int) (*Link, error) {
	secret, err := hex.DecodeString(token)
	if err != nil {
		return nil, fmt.Errorf("the token of forwarder %s is not hexadecimal", id)
	}
	running, cancel := context.WithCancel(context.Background())
	link := &Link{
		links: l, forwarder: id, token: secret, jobID: jobID, attempt: attempt,
		log:    l.log.With("job_id", jobID, "attempt", attempt),
		cancel: cancel, done: make(chan struct{}),
	}
	ctx, stop := context.WithTimeout(ctx, readyTimeout)
	defer stop()
	conn, err := link.connectWithin(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("the job's forwarder did not come up: %w", err)
	}
	go link.run(running, conn)
	return link, nil
}

// Network is the network that the job's container is to join.
func (l *Link) Network() driver.NetworkMode { return driver.NetworkOf(l.forwarder) }

// BaseURL is where the gateway answers in the job's container.
func (l *Link) BaseURL() string { return BaseURL }

// Key is what the job is to show there: the way in is its own and carries who calls, but
// client libraries insist on one.
func (l *Link) Key() string { return "orchion-job" }

// Detach lets go of the link and leaves the forwarder running, for the next run
// of the agent to take over with Links.Open. It breaks off what is in flight,
// waits for its end, and may be called twice.
func (l *Link) Detach() {
	l.cancel()
	<-l.done
}

// Close ends the link and removes the forwarder. The job's container must be
// gone before, since it lives in the forwarder's network: Podman refuses
// otherwise with driver.CodeConflict, and Close may be called again then. A
// forwarder that is gone already is no error.
func (l *Link) Close(ctx context.Context) error {
	l.Detach()
	return l.links.removeForwarder(ctx, l.forwarder)
}

// Pauses between tries to connect.
const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
)

// run serves the connection and replaces it when it is lost.
func (l *Link) run(ctx context.Context, conn net.Conn) {
	defer close(l.done)
	defer func() {
		l.mu.Lock()
		l.over = true
		l.mu.Unlock()
		l.calls.Wait()
	}()
	for {
		l.serve(ctx, conn)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("connection to the job's forwarder was lost; connecting again")
		// A short rest, lest two agents that both think the attempt theirs keep
		// each other out all the time.
		err := rest(ctx, minPause)
		if err == nil {
			conn, err = l.connectWithin(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				l.log.Error("job lost its way to the gateway", "error", err)
			}
			return
		}
	}
}

// errForwarderEnded says that there is nothing to connect to any more.
var errForwarderEnded = errors.New("its container has ended")

// connectWithin tries until it is connected, the forwarder has ended, or ctx
// has.
func (l *Link) connectWithin(ctx context.Context) (net.Conn, error) {
	pause := minPause
	for {
		conn, err := l.connect(ctx)
		if err == nil {
			return conn, nil
		}
		if errors.Is(err, errForwarderEnded) || errors.Is(err, errWrongToken) {
			return nil, err
		}
		if over := rest(ctx, pause); over != nil {
			return nil, fmt.Errorf("%w; the last try: %w", over, err)
		}
		pause = min(2*pause, maxPause)
	}
}

// rest waits; the error is the context's when that ends first.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Link) connect(ctx context.Context) (net.Conn, error) {
	container, err := l.links.cfg.Driver.Inspect(ctx, l.forwarder)
	switch {
	case driver.CodeOf(err) == driver.CodeNotFound:
		return nil, errForwarderEnded
	case err != nil:
		return nil, fmt.Errorf("inspect it: %w", err)
	case container.State != driver.StateRunning:
		return nil, fmt.Errorf("%w with code %d", errForwarderEnded, container.Exit.Code)
	}
	port, ok := container.HostPort(controlPort)
	if !ok {
		return nil, errors.New("its control port is not published")
	}
	dialer := net.Dialer{Timeout: handshakeTime}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, fmt.Errorf("connect to its control port: %w", err)
	}
	if err := greetForwarder(conn, l.token); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// serve answers the forwarder's streams on conn until it is lost or ctx ends.
func (l *Link) serve(ctx context.Context, conn net.Conn) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	listener := newSingleListener(conn)
	server := &http.Server{
		Handler:   http.HandlerFunc(l.serveJob),
		Protocols: &protocols,
		// Whoever is at the other end knows the link's token.
		ReadHeaderTimeout: handshakeTime,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxJobConns,
			MaxReadFrameSize:              frameSize,
			MaxReceiveBufferPerStream:     streamBuffer,
			MaxReceiveBufferPerConnection: connBuffer,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // it only closes the connection
	defer stop()
	// Serve ends with the connection: Accept fails once that is closed.
	if err := server.Serve(listener); err != nil {
		l.log.Debug("forwarder's connection ended", "error", err)
	}
	_ = server.Close() // the connection has ended
}

// serveJob serves one connection of the job: a stream whose two bodies are its
// two directions.
func (l *Link) serveJob(w http.ResponseWriter, r *http.Request) {
	if !l.begin() {
		http.Error(w, "the node agent is stopping", http.StatusServiceUnavailable)
		return
	}
	defer l.calls.Done()
	conn, err := l.links.cfg.Dial(r.Context(), l.jobID, l.attempt)
	if err != nil {
		l.log.WarnContext(r.Context(), "job could not reach the gateway", "error", err)
		http.Error(w, "the node agent could not reach the gateway", http.StatusBadGateway)
		return
	}
	gateway, ok := conn.(streamconn.HalfCloser)
	if !ok {
		conn.Close()
		http.Error(w, "the node agent's connection to the gateway has no half-close", http.StatusInternalServerError)
		return
	}
	controller := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := controller.Flush(); err != nil {
		conn.Close()
		return // the job has left
	}
	job := &streamEnd{Reader: r.Body, w: w, controller: controller, ctx: r.Context()}
	if err := streamconn.Join(r.Context(), job, gateway); err != nil && !streamconn.IsGone(err) {
		l.log.DebugContext(r.Context(), "job's connection to the gateway broke", "error", err)
	}
}

// begin counts a connection, unless there are to be no more.
func (l *Link) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.calls.Add(1)
	return true
}

// singleListener gives one connection, and an error once that is closed.
type singleListener struct {
	conn   chan net.Conn
	addr   net.Addr
	closed chan struct{}
	once   func()
}

func newSingleListener(conn net.Conn) *singleListener {
	l := &singleListener{conn: make(chan net.Conn, 1), addr: conn.LocalAddr(), closed: make(chan struct{})}
	l.once = sync.OnceFunc(func() { close(l.closed) })
	l.conn <- &notifyingConn{Conn: conn, onClose: l.once}
	return l
}

func (l *singleListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *singleListener) Close() error {
	l.once()
	return nil
}

func (l *singleListener) Addr() net.Addr { return l.addr }

// notifyingConn tells of its Close.
type notifyingConn struct {
	net.Conn

	onClose func()
}

func (c *notifyingConn) Close() error {
	err := c.Conn.Close()
	c.onClose()
	return err //nolint:wrapcheck // this is the connection
}
