package joblink

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// envToken is where the forwarder finds its token.
const envToken = "ORCHION_LINK_TOKEN" //nolint:gosec // the name of a variable, not a secret

// Limits of a forwarder, which the job can reach and so may try to wear out.
const (
	maxJobConns     = 256
	maxAgentConns   = 8        // greeted at once
	frameSize       = 16 << 10 // bytes; each stream has a buffer of that size to send from
	streamBuffer    = 64 << 10 // bytes received ahead, of one stream
	connBuffer      = 4 << 20  // and of all streams together
	agentWait       = 30 * time.Second
	pingAfter       = 15 * time.Second // of silence
	pingTimeout     = 5 * time.Second
	lingerTime      = time.Second
	acceptPauseTime = 50 * time.Millisecond
)

// ForwarderMain is the program in a forwarder's container: it listens for the
// job and for the node agent until ctx ends. getenv gives the environment, from
// which it takes the token; complaints go to stderr.
func ForwarderMain(ctx context.Context, getenv func(string) string, stderr io.Writer) error {
	token, err := hex.DecodeString(getenv(envToken))
	if err != nil || len(token) != tokenSize {
		return fmt.Errorf("%s must hold %d hexadecimal digits; the node agent starts job-forwarder by itself", envToken, 2*tokenSize)
	}
	var config net.ListenConfig
	// The job's address first: an agent that gets through takes it for open.
	job, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(jobPort)))
	if err != nil {
		return fmt.Errorf("listen for the job: %w", err)
	}
	control, err := config.Listen(ctx, "tcp", ":"+strconv.Itoa(controlPort))
	if err != nil {
		job.Close()
		return fmt.Errorf("listen for the node agent: %w", err)
	}
	f := newForwarder(token, slog.New(slog.NewTextHandler(stderr, nil)))
	f.serve(ctx, job, control)
	return nil
}

// forwarder joins the job's connections with streams to the agent.
type forwarder struct {
	token []byte
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	agent   *http.ClientConn
	changed chan struct{} // closed, and replaced, when agent changes
}

func newForwarder(token []byte, log *slog.Logger) *forwarder {
	return &forwarder{token: token, log: log, changed: make(chan struct{})}
}

// serve runs until ctx ends and everything it began has ended.
func (f *forwarder) serve(ctx context.Context, job, control net.Listener) {
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, func() {
		job.Close()
		control.Close()
		f.setAgent(nil)
	})
	defer stop()
	wg.Go(func() { f.acceptAll(ctx, job, maxJobConns, f.serveJob) })
	wg.Go(func() { f.acceptAll(ctx, control, maxAgentConns, f.welcome) })
	wg.Wait()
}

// acceptAll handles connections, at most limit at once; others wait in the
// listener's queue.
func (f *forwarder) acceptAll(ctx context.Context, l net.Listener, limit int, handle func(context.Context, *net.TCPConn)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, limit)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			f.log.Warn("accept failed", "error", err)
			select { // out of file descriptors, perhaps
			case <-time.After(acceptPauseTime):
			case <-ctx.Done():
			}
			continue
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok { // a TCP listener gives nothing else
			conn.Close()
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			handle(ctx, tcp)
		})
	}
}

// welcome greets a node agent; the newest one serves.
func (f *forwarder) welcome(ctx context.Context, conn *net.TCPConn) {
	if err := greetAgent(conn, f.token); err != nil {
		conn.Close()
		return // anything may knock at a port; it is not worth a log that grows
	}
	client, err := newAgentClient(ctx, conn)
	if err != nil {
		conn.Close()
		f.log.Warn("agent could not be served", "error", err)
		return
	}
	f.setAgent(client)
	if ctx.Err() != nil {
		f.setAgent(nil)
	}
}

// newAgentClient begins HTTP/2 on a greeted connection.
func newAgentClient(ctx context.Context, conn net.Conn) (*http.ClientConn, error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		Protocols:          &protocols,
		DisableCompression: true,
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:              frameSize,
			MaxReceiveBufferPerStream:     streamBuffer,
			MaxReceiveBufferPerConnection: connBuffer,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
	}
	client, err := transport.NewClientConn(ctx, "http", "agent:80")
	if err != nil {
		return nil, fmt.Errorf("begin HTTP/2: %w", err)
	}
	return client, nil
}

func (f *forwarder) setAgent(client *http.ClientConn) {
	f.mu.Lock()
	old := f.agent
	f.agent = client
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	if old != nil {
		_ = old.Close() // its agent is gone
	}
}

// waitForAgent gives the connection to the agent, which may just be restarting.
func (f *forwarder) waitForAgent(ctx context.Context) (*http.ClientConn, bool) {
	ctx, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	for {
		f.mu.Lock()
		agent, changed := f.agent, f.changed
		f.mu.Unlock()
		if agent != nil && agent.Err() == nil {
			return agent, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// serveJob joins one connection of the job with a stream.
func (f *forwarder) serveJob(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// What is answered before a client has asked is no answer to it.
	first, ok := firstByte(ctx, conn)
	if !ok {
		return
	}
	agent, ok := f.waitForAgent(ctx)
	if !ok {
		refuse(conn, "the node agent is not there; try again")
		return
	}
	read := make(chan struct{})
	body := &jobBody{conn: conn, first: first, ended: sync.OnceFunc(func() { close(read) })}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/", body)
	if err != nil { // nothing in it can be wrong
		return
	}
	res, err := agent.RoundTrip(req)
	if err != nil {
		refuse(conn, "the connection to the node agent was lost; try again")
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		refuse(conn, "the gateway cannot be reached from this node now; try again")
		return
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{res.Body}, make([]byte, streamBuffer/2))
	if err != nil {
		_ = conn.SetLinger(0) // a broken stream must not look like a whole answer
		return
	}
	// Closing with something unread would reset the connection and might take
	// the last of the answer with it.
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(lingerTime))
	select {
	case <-read:
	case <-ctx.Done():
	}
	_, _ = io.Copy(io.Discard, conn)
}

// firstByte waits for a connection's first byte; not ok: none comes.
func firstByte(ctx context.Context, conn net.Conn) (first []byte, ok bool) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) }) // it fails on a closed one only
	defer stop()
	first = make([]byte, 1)
	n, _ := conn.Read(first)
	return first, n == 1
}

// jobBody is what the job sends, as the body of a request.
type jobBody struct {
	conn  net.Conn
	first []byte // read already
	ended func() // called when the transport reads no more
}

func (b *jobBody) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	n, err := b.conn.Read(p)
	return n, err //nolint:wrapcheck // io.EOF must stay itself
}

// Close leaves the connection to its owner, but wakes a Read that waits.
func (b *jobBody) Close() error {
	b.ended()
	return b.conn.SetReadDeadline(time.Now().Add(lingerTime)) //nolint:wrapcheck // of no interest to the transport
}

// refuse answers the job in OpenAI's shape, with what its client retries on.
func refuse(conn *net.TCPConn, message string) {
	body := fmt.Sprintf(`{"error":{"message":%q,"type":"server_error","param":null,"code":"link_unavailable"}}`, message)
	_ = conn.SetDeadline(time.Now().Add(lingerTime)) // what fails here fails below
	fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"+
		"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	_ = conn.CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}
