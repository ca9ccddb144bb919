package api

import (
	"context"
	"net"
	"runtime"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/version"
)

// nodes serves orchion.v1.Orchestrator.
type nodes struct {
	orchionv1.UnimplementedOrchestratorServer
	cfg *Config
}

func (s *nodes) RegisterNode(ctx context.Context, req *orchionv1.RegisterNodeRequest) (*orchionv1.RegisterNodeResponse, error) {
	registration, err := registrationFromProto(req)
	if err != nil {
		return nil, err
	}
	registration.Address = peerHost(ctx)
	n, next, err := s.cfg.Nodes.Register(ctx, registration)
	if err != nil {
		return nil, err
	}
	return &orchionv1.RegisterNodeResponse{
		NodeId:            n.ID,
		Node:              s.cfg.nodeToProto(n),
		HeartbeatInterval: durationpb.New(next),
		LeaseTtl:          durationpb.New(s.cfg.LeaseTTL),
	}, nil
}

func (s *nodes) Heartbeat(_ context.Context, req *orchionv1.HeartbeatRequest) (*orchionv1.HeartbeatResponse, error) {
	if err := checkSender(req.GetNodeId(), req.GetInstanceId()); err != nil {
		return nil, err
	}
	usage, err := usageFromProto("usage", req.GetUsage())
	if err != nil {
		return nil, err
	}
	next, err := s.cfg.Nodes.Heartbeat(req.GetNodeId(), req.GetInstanceId(), usage)
	if err != nil {
		return nil, err
	}
	return &orchionv1.HeartbeatResponse{HeartbeatInterval: durationpb.New(next)}, nil
}

func (s *nodes) DeregisterNode(ctx context.Context, req *orchionv1.DeregisterNodeRequest) (*emptypb.Empty, error) {
	if err := checkSender(req.GetNodeId(), req.GetInstanceId()); err != nil {
		return nil, err
	}
	if err := checkProse("reason", req.GetReason(), maxReason); err != nil {
		return nil, err
	}
	if err := s.cfg.Nodes.Deregister(ctx, req.GetNodeId(), req.GetInstanceId(), req.GetReason()); err != nil {
		return nil, err
	}
	s.cfg.Jobs.NodeLeft(req.GetNodeId())
	s.cfg.Deployments.NodeLeft(req.GetNodeId())
	return &emptypb.Empty{}, nil
}

func (s *nodes) ListNodes(_ context.Context, req *orchionv1.ListNodesRequest) (*orchionv1.ListNodesResponse, error) {
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	after, err := pageCursor(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	values, all, err := stateFilter("state", req.GetState(), "NODE_STATE_", orchionv1.NodeState_value)
	if err != nil {
		return nil, err
	}
	selector, err := checkSelector("label", req.GetLabelSelector())
	if err != nil {
		return nil, err
	}
	filter := node.Filter{Labels: selector, Limit: limit, After: after}
	for _, v := range values {
		filter.States = append(filter.States, nodeStateFromProto(orchionv1.NodeState(v)))
	}
	if all {
		filter.States = []node.State{node.Online, node.Draining, node.Offline}
	}
	page := s.cfg.Nodes.List(filter)
	out := &orchionv1.ListNodesResponse{TotalSize: int32(page.Total)}
	for _, n := range page.Nodes {
		out.Nodes = append(out.Nodes, s.cfg.nodeToProto(n))
	}
	if page.Next != "" {
		out.NextPageToken = pageToken(page.Next)
	}
	return out, nil
}

func (s *nodes) GetNode(_ context.Context, req *orchionv1.GetNodeRequest) (*orchionv1.Node, error) {
	if err := checkID("id", req.GetId()); err != nil {
		return nil, err
	}
	n, ok := s.cfg.Nodes.Get(req.GetId())
	if !ok {
		return nil, fault.New(fault.NotFound, "node %q is not known", req.GetId())
	}
	return s.cfg.nodeToProto(n), nil
}

func (s *nodes) UpdateNode(ctx context.Context, req *orchionv1.UpdateNodeRequest) (*orchionv1.Node, error) {
	if err := checkID("id", req.GetId()); err != nil {
		return nil, err
	}
	if err := checkLabels("labels", req.GetLabels()); err != nil {
		return nil, err
	}
	n, err := s.cfg.Nodes.SetUserLabels(ctx, req.GetId(), req.GetLabels())
	if err != nil {
		return nil, err
	}
	return s.cfg.nodeToProto(n), nil
}

func (s *nodes) DeleteNode(ctx context.Context, req *orchionv1.DeleteNodeRequest) (*emptypb.Empty, error) {
	if err := checkID("id", req.GetId()); err != nil {
		return nil, err
	}
	if err := s.cfg.Nodes.Delete(ctx, req.GetId()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *nodes) GetVersion(context.Context, *orchionv1.GetVersionRequest) (*orchionv1.Version, error) {
	return &orchionv1.Version{
		Name:        "orchion",
		Version:     version.String(),
		Commit:      version.Commit(),
		GoVersion:   runtime.Version(),
		StartedAt:   timeToProto(s.cfg.StartedAt),
		GrpcAddress: s.cfg.GRPCAddress,
	}, nil
}

// checkSender checks who a call of a node agent says it is from.
func checkSender(nodeID, instanceID string) error {
	if nodeID == "" {
		return fault.BadField("nodeId", "must not be empty; give the node_id that RegisterNode answered")
	}
	if err := checkID("nodeId", nodeID); err != nil {
		return err
	}
	return checkText("instanceId", instanceID, maxInstanceID)
}

// peerHost is where the caller's connection comes from, without its port.
func peerHost(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}
