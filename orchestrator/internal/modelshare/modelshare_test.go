package modelshare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is what a broker sees: deployments that tests change, and nodes that
// answer with what they were asked.
type cluster struct {
	mu   sync.Mutex // guards list
	list []model.Deployment
}

func (c *cluster) deployments() []model.Deployment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// set replaces the replicas of the one deployment.
func (c *cluster) set(replicas ...model.Replica) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = []model.Deployment{{Name: "d", Spec: model.Spec{Model: "tiny", Engine: model.Ollama}, Replicas: replicas}}
}

// dial answers one request: the node "broken" breaks off, "empty" has nothing.
func dial(_ context.Context, nodeID string, target tunnel.Target) (net.Conn, error) {
	if !target.ModelFiles {
		return nil, errors.New("not the files of models")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		req, err := http.ReadRequest(bufio.NewReader(far))
		if err != nil {
			return
		}
		answer := nodeID + " " + req.URL.String()
		switch nodeID {
		case "empty":
			io.WriteString(far, "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno file")
		case "broken":
			io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
		default:
			fmt.Fprintf(far, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		}
	}()
	return near, nil
}

func replica(id, nodeID string, state model.ReplicaState) model.Replica {
	return model.Replica{ID: id, Deployment: "d", NodeID: nodeID, State: state}
}

func nobody(string) {}

const digest = "sha256:0123"

func TestFilesComeFromNodesThatServeTheModel(t *testing.T) {
	c := &cluster{}
	c.set(replica("r1", "n1", model.Ready), replica("r2", "n2", model.Pending), replica("r3", "n3", model.Failed))
	c.list = append(c.list,
		model.Deployment{Name: "same", Spec: model.Spec{Model: "library/TINY:latest", Engine: model.Ollama}, Replicas: []model.Replica{replica("r5", "n5", model.Ready)}},
		model.Deployment{Name: "else", Spec: model.Spec{Model: "tiny", Engine: model.VLLM}, Replicas: []model.Replica{replica("r6", "n6", model.Ready)}},
	)
	b := New(Config{Deployments: c.deployments, Dial: dial})
	first, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2", Digest: digest, Offset: 7}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	want := "n1 /replicas/r1/blobs/" + digest + "?offset=7"
	if text, err := io.ReadAll(first); string(text) != want || err != nil || first.NodeID != "n1" || first.Total != int64(7+len(want)) {
		t.Errorf("got %q of %d from %s, %v; want %q", text, first.Total, first.NodeID, err, want)
	}
	// While one node sends, another is asked; then the first again.
	second, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2"}, nobody)
	if err != nil || second.NodeID != "n5" {
		t.Fatalf("the second file comes from %v, %v; want n5", second, err)
	}
	if text, _ := io.ReadAll(second); string(text) != "n5 /replicas/r5/manifest" {
		t.Errorf("the manifest is asked for as %q", text)
	}
	first.Close()
	first.Close()
	third, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2"}, nobody)
	if err != nil || third.NodeID != "n1" {
		t.Errorf("the third file comes from %v, %v; want n1", third, err)
	}
	third.Close()
	second.Close()
	if len(b.sending) != 0 {
		t.Errorf("still sending: %v", b.sending)
	}
}

func TestWhoMayNotAsk(t *testing.T) {
	c := &cluster{}
	going := replica("r4", "n4", model.Stopping)
	going.Remove = true
	c.set(replica("r1", "n1", model.Ready), replica("r2", "n2", model.Pending), going)
	b := New(Config{Deployments: c.deployments, Dial: dial})
	for name, ask := range map[string]Ask{
		"another's replica":    {NodeID: "n3", ReplicaID: "r2"},
		"no replica":           {NodeID: "n2", ReplicaID: "r9"},
		"one that is to go":    {NodeID: "n4", ReplicaID: "r4"},
		"none of this cluster": {},
	} {
		if _, err := b.Open(t.Context(), ask, nobody); fault.CodeOf(err) != fault.Precondition {
			t.Errorf("%s: %v, want FAILED_PRECONDITION", name, err)
		}
	}
}

func TestSourcesThatFail(t *testing.T) {
	for nodeID, want := range map[string]string{
		"empty": "node empty does not give the file: 404 Not Found no file",
	} {
		c := &cluster{}
		c.set(replica("r1", nodeID, model.Ready), replica("r2", "n2", model.Pending))
		b := New(Config{Deployments: c.deployments, Dial: dial})
		_, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2"}, nobody)
		if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("from %s: %v, want UNAVAILABLE %q", nodeID, err, want)
		}
		if len(b.sending) != 0 {
			t.Errorf("still sending: %v", b.sending)
		}
	}
	c := &cluster{}
	c.set(replica("r1", "broken", model.Ready), replica("r2", "n2", model.Pending))
	file, err := New(Config{Deployments: c.deployments, Dial: dial}).Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2"}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.ReadAll(file); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that broke off reads as %v", err)
	}
}

// Of those that start at once, one gets the model from outside and the others
// wait until it serves.
func TestOneGetsItFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		first, second := replica("r1", "n1", model.Pending), replica("r2", "n2", model.Pending)
		c.set(first, second)
		b := New(Config{Deployments: c.deployments, Dial: dial})
		if _, err := b.Open(t.Context(), Ask{NodeID: "n1", ReplicaID: "r1"}, nobody); fault.CodeOf(err) != fault.NotFound {
			t.Fatalf("the first is told %v, want NOT_FOUND", err)
		}
		// It may ask again, for itself.
		if _, err := b.Open(t.Context(), Ask{NodeID: "n1", ReplicaID: "r1"}, nobody); fault.CodeOf(err) != fault.NotFound {
			t.Fatalf("asking again, the first is told %v, want NOT_FOUND", err)
		}
		var told []string
		got := make(chan error, 1)
		go func() {
			file, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2"}, func(nodeID string) { told = append(told, nodeID) })
			if err == nil {
				err = file.Close()
			}
			got <- err
		}()
		// As long as it comes along, waiting has no end.
		for i := range 10 {
			time.Sleep(50 * time.Second)
			first.State, first.CompletedBytes = model.Pulling, int64(i+1)
			c.set(first, second)
		}
		select {
		case err := <-got:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		first.State = model.Ready
		c.set(first, second)
		if err := <-got; err != nil || !slices.Equal(told, []string{"n1"}) {
			t.Errorf("it ended with %v and was told of %v", err, told)
		}
	})
}

// Nobody waits for a node that makes no progress, has failed, or is gone.
func TestNobodyWaitsInVain(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*model.Replica)
		within time.Duration
	}{
		"stalled": {func(*model.Replica) {}, 61 * time.Second},
		"failed":  {func(r *model.Replica) { r.State = model.Failed }, time.Second},
		"gone":    {func(r *model.Replica) { r.Remove = true }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{}
				first, second := replica("r1", "n1", model.Pulling), replica("r2", "n2", model.Pending)
				c.set(first, second)
				b := New(Config{Deployments: c.deployments, Dial: dial})
				if _, err := b.Open(t.Context(), Ask{NodeID: "n1", ReplicaID: "r1"}, nobody); fault.CodeOf(err) != fault.NotFound {
					t.Fatal(err)
				}
				tt.change(&first)
				c.set(first, second)
				begun := time.Now()
				if _, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "r2"}, nobody); fault.CodeOf(err) != fault.NotFound {
					t.Errorf("the second is told %v, want NOT_FOUND", err)
				}
				if waited := time.Since(begun); waited > tt.within {
					t.Errorf("it waited for %v", waited)
				}
			})
		})
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		c.set(replica("r1", "n1", model.Pulling), replica("r2", "n2", model.Pending))
		b := New(Config{Deployments: c.deployments, Dial: dial})
		if _, err := b.Open(t.Context(), Ask{NodeID: "n1", ReplicaID: "r1"}, nobody); fault.CodeOf(err) != fault.NotFound {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Open(ctx, Ask{NodeID: "n2", ReplicaID: "r2"}, nobody); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
	})
}
