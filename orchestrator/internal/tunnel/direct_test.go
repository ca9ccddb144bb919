package tunnel

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/loopback"
)

var somewhere = loopback.Place{BootID: "boot", NetworkNamespace: 7}

// listenLocally listens as an engine does, and says "engine" to whoever connects.
func listenLocally(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "engine")
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	return listener
}

func checkCounts(t *testing.T, s *Server, tunnels, conns int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels["n1"] != tunnels || len(s.conns) != conns {
		t.Errorf("%d connections of the node are counted and %d kept, want %d and %d", s.tunnels["n1"], len(s.conns), tunnels, conns)
	}
}

func TestDirect(t *testing.T) {
	engine := listenLocally(t)
	r := newRig(t, Config{Place: somewhere, MaxPerNode: 1})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	ask := <-r.asked
	if ask.Place != somewhere || ask.ReplicaID != "r1" {
		t.Fatalf("the node was asked for %+v", ask)
	}
	r.server.Direct("n2", ask.TunnelID, "127.0.0.1:1") // another node's business
	r.server.Direct("n1", ask.TunnelID, engine.Addr().String())
	d := <-result
	if d.err != nil {
		t.Fatal(d.err)
	}
	if text := make([]byte, 6); d.conn.RemoteAddr().String() != engine.Addr().String() {
		t.Errorf("connected to %s", d.conn.RemoteAddr())
	} else if _, err := io.ReadFull(d.conn, text); err != nil || string(text) != "engine" {
		t.Errorf("read %q, %v", text, err)
	}
	checkCounts(t, r.server, 1, 1)
	_, err := r.server.Dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	checkFault(t, err, fault.Exhausted, "node n1 has 1 connections to its engines open, the most allowed")
	d.conn.Close()
	d.conn.Close()
	checkCounts(t, r.server, 0, 0)
}

// What a node may not name fails the call, and is not connected to.
func TestDirectRefused(t *testing.T) {
	own := listenLocally(t)
	port := uint16(own.Addr().(*net.TCPAddr).Port)
	r := newRig(t, Config{Place: somewhere, OwnPorts: []uint16{port}})
	cases := map[string]struct {
		target  Target
		address string
		want    string
	}{
		"not asked":   {Target{ModelFiles: true}, "127.0.0.1:1", "node n1 named an address and was not asked for one"},
		"elsewhere":   {Target{ReplicaID: "r1"}, "10.0.0.1:80", "node n1 named an address that is not one of loopback"},
		"everywhere":  {Target{ReplicaID: "r1"}, "0.0.0.0:80", "node n1 named an address that is not one of loopback"},
		"a name":      {Target{ReplicaID: "r1"}, "localhost:80", "node n1 named an address that is not one of loopback"},
		"own port":    {Target{ReplicaID: "r1"}, own.Addr().String(), "node n1 named a port of the orchestrator as its engine's"},
		"by IPv6":     {Target{ReplicaID: "r1"}, net.JoinHostPort("::1", own.Addr().String()[10:]), "node n1 named a port of the orchestrator as its engine's"},
		"an endpoint": {Target{EngineEndpoint: "http://e"}, "http://127.0.0.1:1", "node n1 named an address that is not one of loopback"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			result := r.dial(t.Context(), "n1", c.target)
			r.server.Direct("n1", (<-r.asked).TunnelID, c.address)
			checkFault(t, (<-result).err, fault.Unavailable, c.want)
			checkCounts(t, r.server, 0, 0)
		})
	}
}

// An address that nobody answers at, for whatever reason, leaves the tunnel.
func TestDirectThatLeadsNowhere(t *testing.T) {
	gone := listenLocally(t)
	gone.Close()
	r := newRig(t, Config{Place: somewhere})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	r.server.Direct("n1", (<-r.asked).TunnelID, gone.Addr().String())
	again := <-r.asked
	if again.Place != (loopback.Place{}) || again.ReplicaID != "r1" {
		t.Fatalf("the node was asked again for %+v", again)
	}
	r.openAs(t, "n1", again.TunnelID)
	d := <-result
	if d.err != nil {
		t.Fatal(d.err)
	}
	checkCounts(t, r.server, 1, 1)
	d.conn.Close()
	<-r.results
	checkCounts(t, r.server, 0, 0)
}

func TestDirectThatNobodyWaitsFor(t *testing.T) {
	engine := listenLocally(t)
	r := newRig(t, Config{Place: somewhere})
	ctx, cancel := context.WithCancel(t.Context())
	result := r.dial(ctx, "n1", Target{ReplicaID: "r1"})
	ask := <-r.asked
	cancel()
	<-result
	r.server.Direct("n1", ask.TunnelID, engine.Addr().String())
	checkCounts(t, r.server, 0, 0)
}

func TestCloseBreaksDirectConnections(t *testing.T) {
	engine := listenLocally(t)
	r := newRig(t, Config{Place: somewhere})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	r.server.Direct("n1", (<-r.asked).TunnelID, engine.Addr().String())
	d := <-result
	if d.err != nil {
		t.Fatal(d.err)
	}
	r.server.Close()
	if _, err := io.ReadAll(d.conn); err == nil {
		t.Error("the connection outlived the server")
	}
}
