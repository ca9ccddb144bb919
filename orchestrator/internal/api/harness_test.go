package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fit"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/modelshare"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/orchestrator/internal/store/logfile"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is an API over the real parts, with a store that forgets.
type harness struct {
	server     *Server
	registry   *node.Registry
	dispatcher *dispatch.Dispatcher
	models     *model.Manager
	schedules  *schedule.Manager
	hub        *dispatch.Hub
	bus        *events.Bus
	tunnels    *tunnel.Server
	meter      *meter.Meter

	conn  *grpc.ClientConn
	nodes orchionv1.OrchestratorClient
	jobs  orchionv1.JobsClient
	http  *httptest.Server
}

// settings are what tests choose.
type settings struct {
	traffic        func(string) ([]routing.QueueStatus, []routing.ReplicaStatus)
	origins, hosts []string
	dashboard      fs.FS
	gateway        http.Handler
	keepAlive      time.Duration
	ready          func(context.Context) error
	// heartbeats is how long nodes may be silent.
	heartbeats time.Duration
	busSize    int
	// dial reaches nodes that are asked about models.
	dial fit.Dial
}

func newHarness(t *testing.T, s settings) *harness {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db := memory.New()
	logs, err := logfile.Open(logfile.Config{Dir: t.TempDir()})
	must(err)
	blobs, err := blob.Open(blob.Config{Dir: t.TempDir(), MaxBytes: 1 << 20, StoreMaxBytes: 9 << 20})
	must(err)
	h := &harness{hub: dispatch.NewHub(), bus: events.NewBus(s.busSize)}
	cluster := scheduler.NewCluster()
	h.dispatcher, err = dispatch.New(dispatch.Config{
		Store: db, Hub: h.hub, Cluster: cluster,
		Events: func(j *job.Job) { h.bus.Publish(events.Event{Type: events.Updated, Job: j}) },
	})
	must(err)
	h.schedules, err = schedule.New(schedule.Config{Store: db, Jobs: h.dispatcher})
	must(err)
	h.models, err = model.New(model.Config{
		Store: db, Link: h.hub, Cluster: cluster,
		Events: func(d *model.Deployment) { h.bus.Publish(events.Event{Type: events.Updated, Deployment: d}) },
	})
	must(err)
	h.registry = node.NewRegistry(node.Config{Store: db, MaxNodes: 50, HeartbeatTimeout: s.heartbeats, OnOutage: func(*node.Outage) {
		h.bus.Publish(events.Event{Type: events.Updated, Cluster: true})
	}, OnChange: func(prev, next *node.Node) {
		h.dispatcher.NodeChanged(prev, next)
		h.models.NodeChanged(prev, next)
		if next != nil {
			h.bus.Publish(events.Event{Type: events.Updated, Node: next})
		}
	}})
	h.tunnels = tunnel.New(tunnel.Config{
		Place: loopback.Place{BootID: "boot", NetworkNamespace: 7},
		Open:  func(id string, m dispatch.OpenTunnel) bool { return h.hub.Send(id, m) },
	})
	h.meter, err = meter.New(meter.Config{Store: db})
	must(err)
	book, err := alias.New(alias.Config{Store: db})
	must(err)
	if s.dial == nil {
		s.dial = func(context.Context, string, tunnel.Target) (net.Conn, error) {
			return nil, errors.New("no node is asked about models")
		}
	}
	fitter := fit.New(fit.Config{Space: cluster.Space, Deployments: h.models.List, Dial: s.dial})
	pulls := modelshare.NewPuller(modelshare.PullerConfig{
		Nodes: h.registry.Active, Known: func(id string) bool { _, ok := h.registry.Get(id); return ok }, Deployments: h.models.List, Dial: s.dial,
	})
	t.Cleanup(pulls.Close)
	h.server, err = New(Config{
		Nodes: h.registry, Jobs: h.dispatcher, Queues: h.dispatcher, Schedules: h.schedules, JobStore: db, Logs: logs, Blobs: blobs, Artifacts: db, ArtifactMaxBytes: 2 << 20, Deployments: h.models, Usage: h.meter, Aliases: book, Traffic: s.traffic, ModelFit: fitter, ModelPulls: pulls,
		Hub: h.hub, Tunnels: h.tunnels, Events: h.bus, LeaseTTL: 30 * time.Second,
		GRPCAddress: "127.0.0.1:50051", StartedAt: time.Unix(1_700_000_000, 0), Ready: s.ready,
		Gateway: s.gateway, Dashboard: s.dashboard, AllowedOrigins: s.origins, AllowedHosts: s.hosts,
		KeepAlive: s.keepAlive,
	})
	must(err)
	must(h.registry.Start(t.Context()))
	must(h.dispatcher.Start(t.Context()))
	must(h.models.Start(t.Context()))
	must(h.schedules.Start(t.Context()))
	must(h.meter.Start(t.Context()))

	listener := bufconn.Listen(1 << 20)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.server.GRPC().Serve(listener)
	}()
	h.conn, err = grpc.NewClient("passthrough:///orchestrator", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	must(err)
	h.nodes, h.jobs = orchionv1.NewOrchestratorClient(h.conn), orchionv1.NewJobsClient(h.conn)
	h.http = httptest.NewServer(h.server.HTTP())
	t.Cleanup(func() {
		h.server.Close()
		h.hub.Close()
		h.conn.Close()
		h.http.Close()
		must(h.tunnels.Close())
		h.server.GRPC().GracefulStop()
		<-served
		h.meter.Stop()
		h.schedules.Stop()
		h.dispatcher.Stop()
		h.models.Stop()
		h.registry.Stop()
		h.bus.Close()
		must(logs.Close())
		must(db.Close())
	})
	return h
}

// register makes a node known over gRPC.
func (h *harness) register(t *testing.T, n *orchionv1.Node, instance string) string {
	t.Helper()
	if n.Hostname == "" {
		n.Hostname = "host"
	}
	resp, err := h.nodes.RegisterNode(t.Context(), &orchionv1.RegisterNodeRequest{Node: n, InstanceId: instance})
	if err != nil {
		t.Fatalf("RegisterNode: %v", err)
	}
	return resp.GetNodeId()
}

// asNode gives a context whose calls are from a node.
func asNode(ctx context.Context, id, instance string, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, append([]string{keyNodeID, id, keyInstanceID, instance}, more...)...)
}

// worker is a node that can run containers.
func worker(id string) *orchionv1.Node {
	return &orchionv1.Node{Id: id, Hostname: "host-" + id, Capabilities: &orchionv1.Capabilities{
		Os: "linux", Arch: "amd64", Cpu: &orchionv1.Cpu{LogicalCores: 8}, Memory: &orchionv1.Memory{TotalBytes: 16 << 30},
		Runtimes: []*orchionv1.ContainerRuntime{{Name: "podman", Version: "5.0"}},
	}}
}

func wantStatus(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || !strings.Contains(st.Message(), text) {
		t.Errorf("status is %v %q, want %v with %q", st.Code(), st.Message(), code, text)
	}
}

// answer is a REST answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes a REST call. Headers are given as "Name: value".
func (h *harness) call(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.http.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := h.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

// decode reads a JSON answer.
func (a answer) decode(t *testing.T, to any) {
	t.Helper()
	if err := json.Unmarshal(a.body, to); err != nil {
		t.Fatalf("%s is not JSON: %v", a.body, err)
	}
}

// wantError holds the shape, the code and the message of an error.
func (a answer) wantError(t *testing.T, httpStatus int, code codes.Code, text string) {
	t.Helper()
	var e struct {
		Code    int
		Message string
		Details []map[string]any
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("an error has the content type %q: %s", got, a.body)
		return
	}
	a.decode(t, &e)
	if a.status != httpStatus || e.Code != int(code) || !strings.Contains(e.Message, text) || e.Details == nil {
		t.Errorf("error is HTTP %d: %s\nwant HTTP %d, code %d, with %q", a.status, a.body, httpStatus, code, text)
	}
}
