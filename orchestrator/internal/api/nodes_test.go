package api

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func manyLabels(n int) map[string]string {
	labels := make(map[string]string, n)
	for i := range n {
		labels[fmt.Sprint("k", i)] = "v"
	}
	return labels
}

func TestRegisterNodeRefusesBadInput(t *testing.T) {
	h := newHarness(t, settings{})
	good := func(change func(*orchionv1.Node)) *orchionv1.RegisterNodeRequest {
		n := worker("n1")
		change(n)
		return &orchionv1.RegisterNodeRequest{Node: n}
	}
	for name, tc := range map[string]struct {
		req  *orchionv1.RegisterNodeRequest
		want string
	}{
		"no node":           {&orchionv1.RegisterNodeRequest{}, "node: must be given"},
		"id too long":       {good(func(n *orchionv1.Node) { n.Id = strings.Repeat("a", 129) }), "node.id: has 129 characters; at most 128 are allowed"},
		"id odd":            {good(func(n *orchionv1.Node) { n.Id = "a b" }), `node.id: is "a b"; allowed are A-Z a-z 0-9 . _ -`},
		"id begins odd":     {good(func(n *orchionv1.Node) { n.Id = "-a" }), "starting with a letter or digit"},
		"id climbs":         {good(func(n *orchionv1.Node) { n.Id = "../etc" }), "node.id: is"},
		"hostname empty":    {good(func(n *orchionv1.Node) { n.Hostname = "" }), "node.hostname: must not be empty"},
		"hostname too long": {good(func(n *orchionv1.Node) { n.Hostname = strings.Repeat("a", 254) }), "node.hostname: has 254 characters"},
		"hostname odd":      {good(func(n *orchionv1.Node) { n.Hostname = "a/b" }), `node.hostname: is "a/b"`},
		"too many labels":   {good(func(n *orchionv1.Node) { n.Labels = manyLabels(65) }), "node.labels: has 65 entries; at most 64 are allowed"},
		"label key":         {good(func(n *orchionv1.Node) { n.Labels = map[string]string{"a b": "v"} }), `node.labels: has the key "a b"`},
		"label value":       {good(func(n *orchionv1.Node) { n.Labels = map[string]string{"a": "\x00"} }), "cannot be printed"},
		"label value long":  {good(func(n *orchionv1.Node) { n.Labels = map[string]string{"a": strings.Repeat("x", 254)} }), "a value of 254 bytes"},
		"taint":             {good(func(n *orchionv1.Node) { n.Taints = []string{"ok", "a=b"} }), `node.taints[1]: is "a=b"; a taint is 1 to 63 characters`},
		"too many taints":   {good(func(n *orchionv1.Node) { n.Taints = make([]string, 33) }), "node.taints: has 33 entries; at most 32 are allowed"},
		"negative memory":   {good(func(n *orchionv1.Node) { n.Capabilities.Memory.TotalBytes = -1 }), "node.capabilities.memory.totalBytes: is -1; it must not be negative"},
		"negative cores":    {good(func(n *orchionv1.Node) { n.Capabilities.Cpu.LogicalCores = -4 }), "node.capabilities.cpu.logicalCores: is -4"},
		"negative disk":     {good(func(n *orchionv1.Node) { n.Capabilities.Disk = &orchionv1.Disk{TotalBytes: -1} }), "node.capabilities.disk.totalBytes"},
		"negative GPU": {good(func(n *orchionv1.Node) {
			n.Capabilities.Gpus = []*orchionv1.Gpu{{}, {MemoryBytes: -1}}
		}), "node.capabilities.gpus[1].memoryBytes: is -1"},
		"too many GPUs": {good(func(n *orchionv1.Node) {
			n.Capabilities.Gpus = make([]*orchionv1.Gpu, 65)
			for i := range n.Capabilities.Gpus {
				n.Capabilities.Gpus[i] = &orchionv1.Gpu{}
			}
		}), "node.capabilities.gpus: has 65 entries"},
		"engine endpoint": {good(func(n *orchionv1.Node) {
			n.Capabilities.Engines = []*orchionv1.LocalEngine{{Name: "ollama", Endpoint: "file:///etc/passwd"}}
		}), "node.capabilities.engines[0].endpoint: is \"file:///etc/passwd\""},
		"runtime without name": {good(func(n *orchionv1.Node) {
			n.Capabilities.Runtimes = []*orchionv1.ContainerRuntime{{}}
		}), "node.capabilities.runtimes[0].name: must not be empty"},
		"usage NaN":      {good(func(n *orchionv1.Node) { n.Usage = &orchionv1.NodeUsage{CpuPercent: math.NaN()} }), "node.usage.cpuPercent: is NaN"},
		"usage over 100": {good(func(n *orchionv1.Node) { n.Usage = &orchionv1.NodeUsage{CpuPercent: 250} }), "node.usage.cpuPercent: is 250; it must be between 0 and 100"},
		"interval":       {&orchionv1.RegisterNodeRequest{Node: worker("n"), HeartbeatInterval: durationpb.New(-time.Second)}, "heartbeatInterval: is -1s"},
		"instance":       {&orchionv1.RegisterNodeRequest{Node: worker("n"), InstanceId: strings.Repeat("i", 129)}, "instanceId: has 129 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.nodes.RegisterNode(t.Context(), tc.req)
			wantStatus(t, err, codes.InvalidArgument, tc.want)
			var fields []string
			for _, d := range status.Convert(err).Details() {
				if bad, ok := d.(*errdetails.BadRequest); ok {
					fields = append(fields, bad.GetFieldViolations()[0].GetField())
				}
			}
			if field, _, _ := strings.Cut(status.Convert(err).Message(), ":"); len(fields) != 1 || fields[0] != field {
				t.Errorf("details name %q, the message names %q", fields, field)
			}
		})
	}
	if got := len(h.registry.Active()); got != 0 {
		t.Errorf("%d nodes were registered by refused calls", got)
	}
}

func TestRegisterAndHeartbeat(t *testing.T) {
	h := newHarness(t, settings{})
	resp, err := h.nodes.RegisterNode(t.Context(), &orchionv1.RegisterNodeRequest{
		Node: &orchionv1.Node{Hostname: "laptop"}, HeartbeatInterval: durationpb.New(10 * time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetNodeId() == "" || resp.GetNode().GetState() != orchionv1.NodeState_NODE_STATE_ONLINE ||
		resp.GetLeaseTtl().AsDuration() != 30*time.Second || resp.GetNode().GetAddress() != "bufconn" {
		t.Errorf("registered as %v", resp)
	}
	if got := resp.GetHeartbeatInterval().AsDuration(); got > 10*time.Second || got < 9*time.Second {
		t.Errorf("first heartbeat after %v, want 9s to 10s", got)
	}
	beat, err := h.nodes.Heartbeat(t.Context(), &orchionv1.HeartbeatRequest{
		NodeId: resp.GetNodeId(), Usage: &orchionv1.NodeUsage{CpuPercent: 100.4, RunningJobs: 2},
	})
	if err != nil || beat.GetHeartbeatInterval().AsDuration() <= 0 {
		t.Errorf("Heartbeat: %v, %v", beat, err)
	}
	n, err := h.nodes.GetNode(t.Context(), &orchionv1.GetNodeRequest{Id: resp.GetNodeId()})
	if err != nil || n.GetUsage().GetCpuPercent() != 100 || n.GetUsage().GetRunningJobs() != 2 {
		t.Errorf("after the heartbeat the node is %v, %v", n, err)
	}
}

func TestHeartbeatRefusesBadInput(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "first")
	h.register(t, worker("n1"), "second")
	for name, tc := range map[string]struct {
		req  *orchionv1.HeartbeatRequest
		code codes.Code
		want string
	}{
		"no id":      {&orchionv1.HeartbeatRequest{}, codes.InvalidArgument, "nodeId: must not be empty; give the node_id"},
		"odd id":     {&orchionv1.HeartbeatRequest{NodeId: "a b"}, codes.InvalidArgument, `nodeId: is "a b"`},
		"unknown":    {&orchionv1.HeartbeatRequest{NodeId: "stranger"}, codes.NotFound, `node "stranger" is not registered; register it (again)`},
		"taken over": {&orchionv1.HeartbeatRequest{NodeId: "n1", InstanceId: "first"}, codes.Aborted, "taken over by another node agent"},
		"negative": {&orchionv1.HeartbeatRequest{NodeId: "n1", Usage: &orchionv1.NodeUsage{MemoryUsedBytes: -5}},
			codes.InvalidArgument, "usage.memoryUsedBytes: is -5; it must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.nodes.Heartbeat(t.Context(), tc.req)
			wantStatus(t, err, tc.code, tc.want)
		})
	}
}

func TestNodeLimit(t *testing.T) {
	h := newHarness(t, settings{})
	for i := range 50 {
		h.register(t, worker(fmt.Sprint("n", i)), "")
	}
	_, err := h.nodes.RegisterNode(t.Context(), &orchionv1.RegisterNodeRequest{Node: worker("one-more")})
	wantStatus(t, err, codes.ResourceExhausted, "50 nodes are registered, which is the limit (--max-nodes)")
}

func TestDeregister(t *testing.T) {
	h := newHarness(t, settings{})
	id := h.register(t, worker("n1"), "one")
	_, err := h.nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: id, InstanceId: "other"})
	wantStatus(t, err, codes.Aborted, "taken over")
	if _, err := h.nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: id, InstanceId: "one"}); err != nil {
		t.Fatal(err)
	}
	_, err = h.nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: "stranger"})
	wantStatus(t, err, codes.NotFound, `node "stranger" is not known`)
	_, err = h.nodes.Heartbeat(t.Context(), &orchionv1.HeartbeatRequest{NodeId: id, InstanceId: "one"})
	wantStatus(t, err, codes.NotFound, "not registered")
}

func TestListNodes(t *testing.T) {
	h := newHarness(t, settings{})
	for i := range 5 {
		n := worker(fmt.Sprint("n", i))
		n.Labels = map[string]string{"room": []string{"lab", "office"}[i%2], "rack": fmt.Sprint(i)}
		h.register(t, n, "")
	}
	if _, err := h.nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: "n4"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.nodes.DrainNode(t.Context(), &orchionv1.DrainNodeRequest{Id: "n0"}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"":                                        "n0 n1 n2 n3",
		"state=all":                               "n0 n1 n2 n3 n4",
		"state=NODE_STATE_OFFLINE":                "n4",
		"state=NODE_STATE_DRAINING":               "n0",
		"state=online":                            "n1 n2 n3",
		"state=online,offline":                    "n1 n2 n3 n4",
		"label=room%3Dlab":                        "n0 n2",
		"label=room%3Dlab&label=rack!%3D0":        "n2",
		"label=room%3Doffice,rack":                "n1 n3",
		"pageSize=2":                              "n0 n1",
		"page_size=2":                             "n0 n1",
		"label=room%3Dnowhere":                    "",
		"state=all&label=rack%3D4":                "n4",
		"pageSize=2&pageToken=" + pageToken("n1"): "n2 n3",
	} {
		var page struct {
			Nodes []struct{ ID string }
		}
		h.call(t, http.MethodGet, "/api/nodes?"+query, "").decode(t, &page)
		var ids []string
		for _, n := range page.Nodes {
			ids = append(ids, n.ID)
		}
		if got := strings.Join(ids, " "); got != want || page.Nodes == nil {
			t.Errorf("%q answers %q, want %q", query, got, want)
		}
	}

	first, err := h.nodes.ListNodes(t.Context(), &orchionv1.ListNodesRequest{PageSize: 3})
	if err != nil || len(first.GetNodes()) != 3 || first.GetTotalSize() != 4 {
		t.Fatalf("first page: %v, %v", first, err)
	}
	second, err := h.nodes.ListNodes(t.Context(), &orchionv1.ListNodesRequest{PageSize: 3, PageToken: first.GetNextPageToken()})
	if err != nil || len(second.GetNodes()) != 1 || second.GetNextPageToken() != "" {
		t.Errorf("second page: %v, %v", second, err)
	}
}

func TestNodeOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	n := worker("n1")
	n.Labels = map[string]string{"room": "lab", "keep": "me"}
	h.register(t, n, "")

	var got struct {
		ID           string
		State        string
		Labels       map[string]string
		Capabilities struct {
			Memory   struct{ TotalBytes string }
			Gpus     []any
			Runtimes []struct{ Name string }
		}
		Usage struct {
			CPUPercent *float64
		}
	}
	h.call(t, http.MethodPatch, "/api/nodes/n1", `{"labels":{"room":"office"}}`).decode(t, &got)
	if got.Labels["room"] != "office" || got.Labels["keep"] != "me" {
		t.Errorf("labels are %v", got.Labels)
	}
	h.call(t, http.MethodPost, "/api/nodes/n1:drain", "").decode(t, &got)
	if got.State != "NODE_STATE_DRAINING" {
		t.Errorf("drained it is %s", got.State)
	}
	h.call(t, http.MethodPost, "/api/nodes/n1:undrain", "{}").decode(t, &got)
	if got.State != "NODE_STATE_ONLINE" {
		t.Errorf("undrained it is %s", got.State)
	}
	h.call(t, http.MethodGet, "/api/nodes/n1", "").decode(t, &got)
	if got.Capabilities.Memory.TotalBytes != "17179869184" || got.Capabilities.Gpus == nil ||
		got.Capabilities.Runtimes[0].Name != "podman" || got.Usage.CPUPercent == nil {
		t.Errorf("the node is %+v", got)
	}

	h.call(t, http.MethodDelete, "/api/nodes/n1", "").
		wantError(t, http.StatusBadRequest, codes.FailedPrecondition, `node "n1" is online; stop its node agent first`)
	if _, err := h.nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: "n1"}); err != nil {
		t.Fatal(err)
	}
	if a := h.call(t, http.MethodDelete, "/api/nodes/n1", ""); a.status != http.StatusOK || string(a.body) != "{}" {
		t.Errorf("DELETE answers %d %s", a.status, a.body)
	}
	h.call(t, http.MethodGet, "/api/nodes/n1", "").wantError(t, http.StatusNotFound, codes.NotFound, `node "n1" is not known`)
}

func TestHealthAndReflection(t *testing.T) {
	h := newHarness(t, settings{})
	health, err := healthv1.NewHealthClient(h.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health is %v, %v", health, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(h.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range []string{"orchion.v1.Orchestrator", "orchion.v1.Jobs", "orchion.v1.Deployments", "orchion.v1.NodeSession", "orchion.v1.Tunnel"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("reflection lists %q, not %s", names, want)
		}
	}
}
