package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// freezer stands between an agent and its container engine and can stop in its
// tracks, as an engine does that hangs: it takes calls and answers none.
type freezer struct {
	listener net.Listener
	target   string
	gate     sync.RWMutex // write-locked while frozen
}

// newFreezer gives an engine behind a freezer.
func newFreezer(t *testing.T, e *engine.Engine) (*freezer, *engine.Engine) {
	t.Helper()
	// Paths of sockets are short, those of tests are not.
	dir, err := os.MkdirTemp("", "orchion-freezer-")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{target: strings.TrimPrefix(e.Host, "unix://")}
	if f.listener, err = net.Listen("unix", filepath.Join(dir, "engine.sock")); err != nil {
		t.Fatal(err)
	}
	go f.serve()
	t.Cleanup(func() {
		_ = f.listener.Close()
		_ = os.RemoveAll(dir)
	})
	behind := *e
	behind.Host = "unix://" + f.listener.Addr().String()
	return f, &behind
}

func (f *freezer) serve() {
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", f.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		go f.carry(near, far)
		go f.carry(far, near)
	}
}

func (f *freezer) carry(to, from net.Conn) {
	defer func() { _ = from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		f.gate.RLock()
		_, writeErr := to.Write(buffer[:n])
		f.gate.RUnlock()
		if err != nil || writeErr != nil {
			if half, ok := to.(*net.UnixConn); ok && errors.Is(err, io.EOF) {
				_ = half.CloseWrite()
				return
			}
			_ = to.Close()
			return
		}
	}
}

// A node whose container engine hangs says so, is given no containers, and the
// job that it had already been given runs elsewhere.
func TestContainerEngineHangs(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		freezer, frozen := newFreezer(t, e)
		hangs, other := c.addAgent("hangs", frozen), c.addAgent("other", e)
		c.cli("node", "cordon", other.id)

		freezer.gate.Lock()
		thawed := false
		thaw := func() {
			if !thawed {
				thawed = true
				freezer.gate.Unlock()
			}
		}
		defer thaw()
		moved := c.submit([]string{"exit", "0"})
		c.eventually("the job's attempt fails on the node that hangs", func() error {
			attempts := c.job(moved).GetAttempts()
			if len(attempts) == 0 || attempts[0].GetFailure() != orchionv1.FailureClass_FAILURE_CLASS_ENGINE {
				return fmt.Errorf("its attempts are %v", attempts)
			}
			return nil
		})
		c.eventually("the node withdraws its engine", func() error {
			node := &orchionv1.Node{}
			if err := c.get("/api/nodes/"+hangs.id, node); err != nil {
				return err
			}
			if len(node.GetCapabilities().GetRuntimes()) > 0 || node.GetState() != orchionv1.NodeState_NODE_STATE_ONLINE {
				return fmt.Errorf("it is %v with %v", node.GetState(), node.GetCapabilities().GetRuntimes())
			}
			return nil
		})
		waits := c.submit([]string{"exit", "0"}, func(r *orchionv1.SubmitJobRequest) {
			r.Spec.Constraints = []string{"node=" + hangs.id}
		})
		if why := c.cli("job", "explain", waits); !strings.Contains(why, "no container engine answers on it") {
			t.Errorf("why it waits is not said:\n%s", why)
		}

		c.cli("node", "uncordon", other.id)
		job := c.waitJob(moved, succeeded)
		if attempts := job.GetAttempts(); len(attempts) != 2 || attempts[1].GetNodeId() != other.id {
			t.Errorf("attempts %v, want the second on %s", attempts, other.id)
		}
		thaw()
		c.waitJob(waits, succeeded)
	})
}
