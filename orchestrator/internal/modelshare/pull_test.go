package modelshare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/shared/modelpull"
)

// pulling are nodes that answer a wish with what a test gives them.
type pulling struct {
	mu    sync.Mutex // guards what follows
	asked map[string]string
	left  []string // nodes whose requests ended before they had answered
	rest  map[string]chan string
}

func newPulling() *pulling {
	return &pulling{asked: map[string]string{}, rest: map[string]chan string{"slow": make(chan string, 8)}}
}

// answers are those of nodes that say everything at once.
var answers = map[string]string{
	"quick":  "200 OK\r\n\r\n" + `{"state":"pulling","percent":40,"completedBytes":4,"totalBytes":10,"reason":"pulling model m"}` + "\n" + `{"state":"pulled"}` + "\n",
	"fails":  "200 OK\r\n\r\n" + `{"state":"failed","reason":"no such model"}` + "\n",
	"old":    "404 Not Found\r\n\r\n404 page not found",
	"busy":   "503 Service Unavailable\r\n\r\n2 models are being pulled already, the most at once\n",
	"breaks": "200 OK\r\n\r\n" + `{"state":"pulling","percent":40,"completedBytes":4,"totalBytes":10}` + "\n",
	"liar":   "200 OK\r\n\r\n" + `{"state":"great"}` + "\n",
	"babble": "200 OK\r\n\r\n" + strings.Repeat("x", maxPullLine+1),
}

func (p *pulling) dial(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error) {
	if !target.ModelFiles {
		return nil, errors.New("not for models")
	}
	if nodeID == "cut" {
		return nil, errors.New("it is gone")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		req, err := http.ReadRequest(bufio.NewReader(far))
		if err != nil {
			return
		}
		p.mu.Lock()
		p.asked[nodeID] = req.Method + " " + req.URL.Path + " " + req.URL.Query().Get("model") + " " + req.URL.Query().Get("image")
		rest := p.rest[nodeID]
		p.mu.Unlock()
		if answer, ok := answers[nodeID]; ok {
			io.WriteString(far, "HTTP/1.1 "+answer)
			return
		}
		io.WriteString(far, "HTTP/1.1 200 OK\r\n\r\n"+`{"state":"pulling"}`+"\n")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			io.Copy(io.Discard, far)
		}()
		for {
			select {
			case line, more := <-rest:
				if !more {
					return
				}
				fmt.Fprintln(far, line)
			case <-gone:
				p.mu.Lock()
				defer p.mu.Unlock()
				p.left = append(p.left, nodeID)
				return
			}
		}
	}()
	return near, nil
}

func (p *pulling) puller(deployments []model.Deployment, ids ...string) *Puller {
	return NewPuller(PullerConfig{
		Nodes: func() (nodes []*node.Node) {
			for _, id := range ids {
				n := &node.Node{ID: id}
				if id != "bare" {
					n.Capabilities.Runtimes = []node.Runtime{{Name: "docker"}}
				}
				nodes = append(nodes, n)
			}
			return nodes
		},
		Known:       func(id string) bool { return id == "away" },
		Deployments: func() []model.Deployment { return deployments },
		Dial:        p.dial,
	})
}

func text(nodes []NodePull) string {
	var parts []string
	for _, n := range nodes {
		parts = append(parts, fmt.Sprintf("%s %s %.0f %d/%d %s", n.NodeID, n.State, n.Percent, n.CompletedBytes, n.TotalBytes, n.Reason))
	}
	return strings.Join(parts, "\n")
}

func TestNodesGetAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newPulling()
		p := far.puller(nil, "quick", "fails", "old", "busy", "breaks", "liar", "babble", "cut", "slow", "bare")
		defer p.Close()
		if begun, err := p.Pull("m", "img", nil); err != nil || len(begun) != 9 || begun[0].State != modelpull.Pulling {
			t.Fatalf("it begins with %v, %v", begun, err)
		}
		synctest.Wait()
		now, err := p.Look("library/m:latest")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Join([]string{
			"babble failed 0 0/0 node babble broke off; what has come is kept there",
			"breaks failed 40 4/10 node breaks broke off; what has come is kept there",
			"busy failed 0 0/0 node busy: 2 models are being pulled already, the most at once",
			"cut failed 0 0/0 node cut does not answer",
			"fails failed 0 0/0 no such model",
			"liar failed 0 0/0 node liar says that it is \"great\"",
			"old failed 0 0/0 the node agent of old cannot get models alone: update it",
			"quick pulled 100 4/10 ",
			"slow pulling 0 0/0 ",
		}, "\n")
		if got := text(now); got != want {
			t.Errorf("it is\n%s\nwant\n%s", got, want)
		}
		if got := far.asked["quick"]; got != "POST /models/pull m img" {
			t.Errorf("a node is asked %q", got)
		}

		// One that pulls goes on, one that failed begins again.
		far.rest["slow"] <- `{"state":"pulling","percent":30,"completedBytes":3,"totalBytes":10}`
		far.rest["slow"] <- `{"state":"pulling","percent":20,"completedBytes":2,"totalBytes":10}`
		if _, err := p.Pull("m", "", []string{"slow", "fails", "slow"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		now, _ = p.Look("m")
		if got := text(now[8:]); got != "slow pulling 30 3/10 " {
			t.Errorf("it goes on with %s", got)
		}
		far.rest["slow"] <- `{"state":"pulled"}`
		synctest.Wait()
		now, _ = p.Look("m")
		if got := text(now[8:]); got != "slow pulled 100 3/10 " {
			t.Errorf("it ends with %s", got)
		}
	})
}

func TestNobodyWaitsForAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newPulling()
		p := far.puller(nil, "slow")
		defer p.Close()
		if _, err := p.Pull("m", "", nil); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(50 * time.Second)
			if now, err := p.Look("m"); err != nil || now[0].State != modelpull.Pulling {
				t.Fatalf("somebody asks, and it is %v, %v", now, err)
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := p.Look("m"); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("it is still known: %v", err)
		}
		far.mu.Lock()
		defer far.mu.Unlock()
		if len(far.left) != 1 {
			t.Errorf("the node still pulls: %v", far.left)
		}
	})
}

func TestWhoMayGetAModel(t *testing.T) {
	far := newPulling()
	serving := []model.Deployment{{Spec: model.Spec{Model: "m:latest", Engine: model.Ollama}, Replicas: []model.Replica{{NodeID: "slow", State: model.Ready}}}}
	p := far.puller(serving, "slow", "bare")
	defer p.Close()
	for _, tt := range []struct {
		nodes []string
		code  fault.Code
		want  string
	}{
		{[]string{"nobody"}, fault.NotFound, `there is no node "nobody"`},
		{[]string{"away"}, fault.Unavailable, "node away is not connected"},
		{[]string{"slow", "bare"}, fault.Precondition, "node bare has no container engine"},
		{nil, fault.Precondition, "no node is connected that has a container engine and does not serve the model m already"},
	} {
		if _, err := p.Pull("m", "", tt.nodes); fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.nodes, err)
		}
	}
	ids := make([]string, MaxPulls+1)
	for i := range ids {
		ids[i] = fmt.Sprint("n", i)
	}
	many := far.puller(nil, ids...)
	defer many.Close()
	if _, err := many.Pull("m", "", nil); fault.CodeOf(err) != fault.Exhausted {
		t.Errorf("too many: %v", err)
	}
}

func TestPullsCopyFromNodesThatServe(t *testing.T) {
	c := &cluster{}
	c.set(replica("r1", "n1", model.Ready))
	b := New(Config{Deployments: c.deployments, Dial: dial, Pulls: func(nodeID, id string) (string, bool) { return "library/tiny", nodeID == "n2" && id == "pull-1" }})
	file, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "pull-1", Digest: digest}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	if file.NodeID != "n1" {
		t.Errorf("it comes from %s", file.NodeID)
	}
	file.Close()
	if _, err := b.Open(t.Context(), Ask{NodeID: "n3", ReplicaID: "pull-1", Digest: digest}, nobody); fault.CodeOf(err) != fault.Precondition {
		t.Errorf("the wish of another node: %v", err)
	}
	c.set()
	if _, err := b.Open(t.Context(), Ask{NodeID: "n2", ReplicaID: "pull-1"}, nobody); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("nobody has it: %v", err)
	}
	if len(b.fetchers) != 0 {
		t.Errorf("others wait for it: %v", b.fetchers)
	}
}
