package joblink

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

var testToken = []byte(strings.Repeat("t", tokenSize))

// startForwarder runs a forwarder in this process and gives the job's address
// and the agent's.
func startForwarder(t *testing.T) (job, control string) {
	t.Helper()
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newForwarder(testToken, slog.New(slog.DiscardHandler)).serve(ctx, listeners[0], listeners[1])
	}()
	t.Cleanup(func() { cancel(); <-done })
	return listeners[0].Addr().String(), listeners[1].Addr().String()
}

// startAgent serves a forwarder as a Link does; stop is what a restart does.
func startAgent(t *testing.T, control string, dial func(context.Context, string, int) (net.Conn, error)) (stop func()) {
	t.Helper()
	conn, err := net.Dial("tcp", control)
	if err != nil {
		t.Fatal(err)
	}
	if err := greetForwarder(conn, testToken); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	link := &Link{
		links: New(Config{Dial: dial}), log: slog.New(slog.DiscardHandler), jobID: "job-1", attempt: 1,
		cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(link.done)
		defer link.calls.Wait()
		link.serve(ctx, conn)
	}()
	t.Cleanup(link.Detach)
	return link.Detach
}

func dialTo(server *httptest.Server) func(context.Context, string, int) (net.Conn, error) {
	return func(ctx context.Context, _ string, _ int) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestForwarderCarriesRequests(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(gateway.Close)
	job, control := startForwarder(t)
	startAgent(t, control, dialTo(gateway))
	client := newClient(t)
	for _, size := range []int{0, 1, 100_000, 2_000_000} {
		text := strings.Repeat("x", size)
		res, err := client.Post("http://"+job+"/", "text/plain", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != text {
			t.Fatalf("%d bytes came back of %d, %v", len(got), size, err)
		}
	}
}

// A gateway that closes after its answer must not cost the answer's end.
func TestForwarderConnectionClose(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, strings.Repeat("y", 300_000))
	}))
	t.Cleanup(gateway.Close)
	job, control := startForwarder(t)
	startAgent(t, control, dialTo(gateway))
	for range 20 {
		res, err := newClient(t).Get("http://" + job + "/")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || len(got) != 300_000 {
			t.Fatalf("%d bytes came, %v", len(got), err)
		}
	}
}

func TestForwarderWithoutGateway(t *testing.T) {
	job, control := startForwarder(t)
	startAgent(t, control, func(context.Context, string, int) (net.Conn, error) {
		return nil, errors.New("no orchestrator")
	})
	res, err := newClient(t).Get("http://" + job + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	want := `{"error":{"message":"the gateway cannot be reached from this node now; try again","type":"server_error","param":null,"code":"link_unavailable"}}`
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "1" || string(body) != want {
		t.Errorf("answer %s, Retry-After %q: %s (%v)", res.Status, res.Header.Get("Retry-After"), body, err)
	}
}

// A request that comes while the agent restarts waits; one in flight breaks
// rather than looking whole.
func TestForwarderAgentRestart(t *testing.T) {
	begun := make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hang" {
			io.WriteString(w, "here")
			return
		}
		io.WriteString(w, "first part")
		http.NewResponseController(w).Flush()
		close(begun)
		<-r.Context().Done()
	}))
	t.Cleanup(gateway.Close)
	job, control := startForwarder(t)
	stop := startAgent(t, control, dialTo(gateway))
	client := newClient(t)
	res, err := client.Get("http://" + job + "/hang")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-begun
	stop()
	if rest, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a cut answer ended as if it were whole: %q", rest)
	}

	answered := make(chan error, 1)
	go func() {
		res, err := client.Get("http://" + job + "/")
		if err == nil {
			defer res.Body.Close()
			if body, _ := io.ReadAll(res.Body); string(body) != "here" {
				err = errors.New(res.Status + ": " + string(body))
			}
		}
		answered <- err
	}()
	startAgent(t, control, dialTo(gateway))
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestHandshakeRefusesAWrongToken(t *testing.T) {
	_, control := startForwarder(t)
	conn, err := net.Dial("tcp", control)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := greetForwarder(conn, make([]byte, tokenSize)); err == nil {
		t.Error("the forwarder took a wrong token")
	}

	// And the agent refuses a forwarder that does not know it.
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		far.Write(make([]byte, nonceSize))
		io.ReadFull(far, make([]byte, nonceSize+tokenSize))
		far.Write(make([]byte, tokenSize))
	}()
	if err := greetForwarder(near, testToken); !errors.Is(err, errWrongToken) {
		t.Errorf("the agent took a false forwarder: %v", err)
	}
}

func TestForwarderMainWithoutToken(t *testing.T) {
	err := ForwarderMain(t.Context(), func(string) string { return "" }, io.Discard)
	want := "ORCHION_LINK_TOKEN must hold 64 hexadecimal digits; the node agent starts job-forwarder by itself"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %q", err, want)
	}
}
