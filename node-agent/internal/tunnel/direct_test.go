package tunnel

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

// An address is named only where the orchestrator can use it, and nothing else than
// a tunnel would lead to.
func TestDirect(t *testing.T) {
	engine, secure := httptest.NewServer(http.NotFoundHandler()), httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(engine.Close)
	t.Cleanup(secure.Close)
	address := engine.Listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	here := loopback.Place{BootID: "boot", NetworkNamespace: 7}
	from := func(ask *orchionv1.OpenTunnel, place loopback.Place) *orchionv1.OpenTunnel {
		ask.Place = &orchionv1.Place{BootId: place.BootID, NetworkNamespace: place.NetworkNamespace}
		return ask
	}
	type named struct{ id, address string }
	direct := make(chan named, 1)
	config := Config{
		Place:         here,
		Direct:        func(id, address string) { direct <- named{id, address} },
		ReplicaAddr:   func(id string) (string, bool) { return address, id == "r1" },
		EngineAllowed: func(url string) bool { return !strings.Contains(url, "9.9.9.9") },
	}
	o := &orchestrator{}
	server, refused := startServer(t, o, config)
	for name, c := range map[string]struct {
		ask     *orchionv1.OpenTunnel
		address string // empty: through a tunnel
	}{
		"a replica":            {from(replica("", "r1"), here), address},
		"an endpoint":          {from(endpoint("", engine.URL), here), address},
		"localhost":            {from(endpoint("", "http://localhost:"+port), here), address},
		"nobody asked":         {replica("", "r1"), ""},
		"another machine":      {from(replica("", "r1"), loopback.Place{BootID: "other", NetworkNamespace: 7}), ""},
		"another namespace":    {from(replica("", "r1"), loopback.Place{BootID: "boot", NetworkNamespace: 8}), ""},
		"it does not know":     {from(replica("", "r1"), loopback.Place{}), ""},
		"TLS is the agent's":   {from(endpoint("", secure.URL), here), ""},
		"not at loopback":      {from(endpoint("", "http://192.0.2.1:80"), here), ""},
		"not adopted":          {from(endpoint("", "http://9.9.9.9:80"), here), ""},
		"no replica":           {from(replica("", "r2"), here), ""},
		"no target":            {from(&orchionv1.OpenTunnel{}, here), ""},
		"files are the agents": {from(&orchionv1.OpenTunnel{Target: &orchionv1.OpenTunnel_ModelFiles{ModelFiles: true}}, here), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := server.direct(c.ask)
			if ok != (c.address != "") || (ok && got != c.address) {
				t.Errorf("direct = %q, %t; want %q", got, ok, c.address)
			}
		})
	}
	ask := from(replica("t1", "r1"), here)
	server.Open(ask)
	if got := <-direct; got != (named{"t1", address}) {
		t.Errorf("the orchestrator was told %+v", got)
	}
	server.Open(from(replica("t2", "r2"), here))
	if got := <-refused; got != (refusal{"t2", "replica r2 is not ready on this node"}) {
		t.Errorf("refused %+v", got)
	}
}
