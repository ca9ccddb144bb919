package joblink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/selfimage"
)

// engines are the real engines that the environment offers.
func engines(t *testing.T, test func(t *testing.T, d driver.Driver)) {
	t.Helper()
	for name, variable := range map[string]string{"docker": "ORCHION_TEST_DOCKER_HOST", "podman": "ORCHION_TEST_PODMAN_HOST"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := os.Getenv(variable)
			if endpoint == "" {
				t.Skipf("needs a real engine: set %s to its endpoint, such as unix:///var/run/docker.sock", variable)
			}
			d, err := docker.Open(t.Context(), endpoint)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			test(t, d)
		})
	}
}

// bench is a gateway in this process and Links that lead to it.
type bench struct {
	d     driver.Driver
	cfg   Config
	links *Links

	mu    sync.Mutex
	dials []string // attempts that connected; guarded by mu
}

const testLabel = driver.LabelPrefix + "test"

func newBench(t *testing.T, d driver.Driver, gateway http.Handler) *bench {
	t.Helper()
	server := httptest.NewServer(gateway)
	b := &bench{d: d}
	b.cfg = Config{
		Driver: d,
		NodeID: "joblink-test-" + strings.ReplaceAll(t.Name(), "/", "-"),
		Dial: func(ctx context.Context, jobID string, attempt int) (net.Conn, error) {
			b.mu.Lock()
			b.dials = append(b.dials, fmt.Sprintf("%s/%d", jobID, attempt))
			b.mu.Unlock()
			return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
		},
	}
	b.links = New(b.cfg)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, labels := range []map[string]string{{testLabel: b.cfg.NodeID}, {labelNode: b.cfg.NodeID}} {
			left, err := d.List(ctx, labels)
			if err != nil {
				t.Error(err)
			}
			for _, c := range left {
				if err := d.Remove(ctx, c.ID); err != nil {
					t.Error(err)
				}
			}
		}
		// The image is made of this very test program: the next build has another.
		if ref := b.links.image.Ref(); ref != "" {
			if err := d.RemoveImage(ctx, ref); err != nil {
				t.Error(err)
			}
		}
		server.CloseClientConnections()
		server.Close()
	})
	return b
}

// start starts a container that runs the test's job program; empty network: that
// of jobs.
func (b *bench) start(t *testing.T, network driver.NetworkMode, args ...string) string {
	t.Helper()
	image, err := b.links.image.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := driver.JobSpec(image)
	spec.Command = append([]string{selfimage.ProgramPath, "test-job"}, args...)
	spec.Network = network
	spec.Labels = map[string]string{testLabel: b.cfg.NodeID}
	id, err := b.d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// wait waits for a container's end, checks that it succeeded, and removes it.
func (b *bench) wait(t *testing.T, id string) (stdout string) {
	t.Helper()
	exit, err := b.d.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out, all strings.Builder
	err = b.d.Logs(t.Context(), id, driver.LogOptions{}, func(e driver.LogEntry) error {
		fmt.Fprintf(&all, "%s: %s\n", e.Stream, e.Text)
		if e.Stream == driver.Stdout {
			fmt.Fprintln(&out, e.Text)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if exit.Code != 0 {
		t.Fatalf("the job ended with code %d and wrote:\n%s", exit.Code, all.String())
	}
	if err := b.d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (b *bench) open(t *testing.T, links *Links, jobID string) *Link {
	t.Helper()
	link, err := links.Open(t.Context(), jobID, 1)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func (b *bench) checkNothingLeft(t *testing.T) {
	t.Helper()
	left, err := b.d.List(t.Context(), map[string]string{labelNode: b.cfg.NodeID})
	if err != nil || len(left) != 0 {
		t.Errorf("after Close there are %d forwarders left, %v", len(left), err)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the job has left
	}
	w.Write(body)
}

func TestJobReachesTheGateway(t *testing.T) {
	engines(t, func(t *testing.T, d driver.Driver) {
		seen, cancelled := make(chan string), make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/echo", echo)
		mux.HandleFunc("GET /v1/stream", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 5 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				http.NewResponseController(w).Flush()
				// The next event goes out only once the job has this one.
				if got, want := <-seen, fmt.Sprintf("data: %d", i); got != want {
					t.Errorf("the job saw %q, want %q", got, want)
				}
			}
		})
		mux.HandleFunc("POST /v1/seen", func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen <- string(body)
		})
		mux.HandleFunc("GET /v1/hang", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(cancelled)
		})
		b := newBench(t, d, mux)
		link := b.open(t, b.links, "job-1")
		if link.BaseURL() != "http://127.0.0.1:11435/v1" {
			t.Errorf("base URL %s", link.BaseURL())
		}
		b.wait(t, b.start(t, link.Network(), "echo", link.BaseURL()))
		b.wait(t, b.start(t, link.Network(), "stream", link.BaseURL()))
		b.wait(t, b.start(t, link.Network(), "cancel", link.BaseURL()))
		<-cancelled
		b.mu.Lock()
		for _, dial := range b.dials {
			if dial != "job-1/1" {
				t.Errorf("a connection was made for %s", dial)
			}
		}
		b.mu.Unlock()
		if err := link.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := link.Close(t.Context()); err != nil {
			t.Fatalf("the second Close: %v", err)
		}
		b.checkNothingLeft(t)
	})
}

func TestOnlyTheJobReachesTheGateway(t *testing.T) {
	engines(t, func(t *testing.T, d driver.Driver) {
		b := newBench(t, d, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("the gateway was reached: %s %s", r.Method, r.URL)
		}))
		link := b.open(t, b.links, "job-1")
		address := strings.TrimSpace(b.wait(t, b.start(t, link.Network(), "address")))
		if net.ParseIP(address) == nil {
			t.Fatalf("the job's address is %q", address)
		}
		outside := net.JoinHostPort(address, fmt.Sprint(jobPort))
		control := net.JoinHostPort(address, fmt.Sprint(controlPort))
		b.wait(t, b.start(t, "", "refused", "127.0.0.1:11435", outside))
		// From the host, too, nothing but the control port answers, and that is
		// dumb without the token.
		for _, addr := range []string{outside, "127.0.0.1:11435"} {
			if conn, err := net.Dial("tcp", addr); err == nil {
				conn.Close()
				t.Errorf("the host reaches %s", addr)
			}
		}
		b.wait(t, b.start(t, "", "unwelcome", control))
		b.wait(t, b.start(t, link.Network(), "unwelcome", "127.0.0.1:11436"))
		if err := link.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.checkNothingLeft(t)
	})
}

// The agent ends and starts again while the job runs.
func TestRestartedAgentTakesOver(t *testing.T) {
	engines(t, func(t *testing.T, d driver.Driver) {
		steps := make(chan string)
		b := newBench(t, d, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { steps <- r.URL.Path }))
		first := b.open(t, b.links, "job-1")
		id := b.start(t, first.Network(), "steps", first.BaseURL())
		if step := <-steps; step != "/v1/step/0" {
			t.Fatalf("step %s", step)
		}
		first.Detach()
		first.Detach()

		second := b.open(t, New(b.cfg), "job-1")
		if second.Network() != first.Network() {
			t.Errorf("the new link has network %s, the old one %s", second.Network(), first.Network())
		}
		for want := 1; want < 3; want++ {
			for step := range steps {
				if step == fmt.Sprintf("/v1/step/%d", want) {
					break
				}
			}
		}
		b.wait(t, id)

		// A third agent has nothing to do with the forwarder of an attempt that
		// is over but to remove it.
		second.Detach()
		third := New(b.cfg)
		kept := 0
		if err := third.Reap(t.Context(), func(jobID string, attempt int) bool {
			kept++
			return jobID == "job-1" && attempt == 1
		}); err != nil || kept != 1 {
			t.Fatalf("Reap = %v after %d questions", err, kept)
		}
		if err := third.Reap(t.Context(), func(string, int) bool { return false }); err != nil {
			t.Fatal(err)
		}
		b.checkNothingLeft(t)
	})
}

// The connection to the forwarder breaks while the agent lives.
func TestLostConnectionIsReplaced(t *testing.T) {
	engines(t, func(t *testing.T, d driver.Driver) {
		b := newBench(t, d, http.HandlerFunc(echo))
		link := b.open(t, b.links, "job-1")
		// A newer agent takes the forwarder over and so cuts the first off, which
		// comes back and cuts the newer one off in turn.
		rival, err := link.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer rival.Close()
		if _, err := io.Copy(io.Discard, rival); err != nil {
			t.Fatal(err)
		}
		b.wait(t, b.start(t, link.Network(), "echo", link.BaseURL()))
		if err := link.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.checkNothingLeft(t)
	})
}

// runTestJob is the program of the containers above; an error is exit code 1.
func runTestJob(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{}}
	switch args[0] {
	case "echo":
		return jobEcho(ctx, client, args[1])
	case "stream":
		return jobStream(ctx, client, args[1])
	case "cancel":
		return jobCancel(ctx, client, args[1])
	case "steps":
		return jobSteps(ctx, client, args[1])
	case "address":
		return jobAddress()
	case "refused":
		for _, addr := range args[1:] {
			if conn, err := net.DialTimeout("tcp", addr, 5*time.Second); err == nil {
				conn.Close()
				return fmt.Errorf("%s is reachable", addr)
			}
		}
		return nil
	case "unwelcome":
		return jobUnwelcome(args[1])
	}
	return fmt.Errorf("unknown job %q", args)
}

func jobEcho(ctx context.Context, client *http.Client, base string) error {
	var wg sync.WaitGroup
	failed := make(chan error, 20)
	for i := range 20 {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprintf("%d,", i), 100_000)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/echo", strings.NewReader(text))
			if err != nil {
				failed <- err
				return
			}
			res, err := client.Do(req)
			if err != nil {
				failed <- err
				return
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if err != nil || string(got) != text {
				failed <- fmt.Errorf("echo of %d bytes came back with %d: %w", len(text), len(got), errors.Join(err, errors.New("differs")))
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}
