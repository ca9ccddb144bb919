package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// queuedJobs wait while memory is measured, because no node is what they ask for.
const queuedJobs = 100_000

// atRest is after how long an orchestrator has given back what it needed under load.
const atRest = 30 * time.Second

// maxArray is how many jobs one submission makes.
const maxArray = 10_000

// connectedNode is a node with a connection and a stream of its own.
type connectedNode struct {
	conn   *grpc.ClientConn
	stream orchionv1.NodeSession_ConnectClient
}

// measureConnected connects many nodes, each over a connection of its own as real
// ones are, has them beat on their streams, and fills the queue.
func measureConnected(ctx context.Context, s settings, dir string) error {
	p, err := measure.StartOrchestrator(ctx, dir, "connected")
	if err != nil {
		return err
	}
	defer p.Stop()
	before := p.ResidentBytes()
	nodes := make([]connectedNode, s.nodes)
	defer func() {
		for _, n := range nodes {
			if n.conn != nil {
				_ = n.conn.Close() // nothing is left to be lost
			}
		}
	}()
	if err := share(ctx, s, nodes, func(ctx context.Context, i int, n *connectedNode) error { return n.connect(ctx, p.GRPC, nodeName(i)) }); err != nil {
		return err
	}
	connected := p.ResidentBytes()
	measure.Fact("resident memory per connected node", fmt.Sprintf("%d B", (connected-before)/int64(s.nodes)))

	beat := &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Heartbeat{Heartbeat: &orchionv1.NodeUsage{
		CpuPercent: 12.5, MemoryUsedBytes: 8 << 30, RunningJobs: 1,
		Gpus: []*orchionv1.GpuUsage{{Uuid: "GPU-0", UtilizationPercent: 50, MemoryUsedBytes: 1 << 30}},
	}}}
	cpu, began := p.CPUTime(), time.Now()
	// So many from each node that the whole takes about as long as asked for.
	each := max(1, int(s.duration.Seconds()*50_000)/s.nodes)
	err = share(ctx, s, nodes, func(_ context.Context, _ int, n *connectedNode) error {
		for range each {
			if err := n.stream.Send(beat); err != nil {
				return err
			}
		}
		// The answer to what is said last proves that all before it was taken.
		if err := n.stream.Send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_RenewLeases{RenewLeases: &orchionv1.RenewLeases{Sequence: 1}}}); err != nil {
			return err
		}
		_, err := n.stream.Recv()
		return err
	})
	if err != nil {
		return err
	}
	beats, took, used := float64(each*s.nodes), time.Since(began), p.CPUTime()-cpu
	measure.Fact(fmt.Sprintf("heartbeats/s on %d streams, %d at a time", s.nodes, s.clients), fmt.Sprintf("%.0f", beats/took.Seconds()))
	measure.Fact("  for each core that the orchestrator keeps busy", fmt.Sprintf("%.0f", beats/used.Seconds()))

	if err := fillQueue(ctx, nodes[0].conn); err != nil {
		return err
	}
	measure.Fact(fmt.Sprintf("resident memory, %d connected and %d jobs queued", s.nodes, queuedJobs), fmt.Sprintf("%d MiB", p.ResidentBytes()>>20))
	if err := wait(ctx, atRest); err != nil {
		return err
	}
	measure.Fact("  at rest", fmt.Sprintf("%d MiB", p.ResidentBytes()>>20))
	return nil
}

// connect registers a node and opens its stream.
func (n *connectedNode) connect(ctx context.Context, address, id string) (err error) {
	if n.conn, err = measure.Dial(address); err != nil {
		return err
	}
	if _, err := orchionv1.NewOrchestratorClient(n.conn).RegisterNode(ctx, &orchionv1.RegisterNodeRequest{Node: measure.SimulatedNode(id), InstanceId: "bench"}); err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	// The stream outlives this call.
	stream := metadata.AppendToOutgoingContext(context.Background(), "orchion-node-id", id, "orchion-instance-id", "bench")
	if n.stream, err = orchionv1.NewNodeSessionClient(n.conn).Connect(stream); err != nil {
		return err
	}
	if err := n.stream.Send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: &orchionv1.Hello{}}}); err != nil {
		return err
	}
	_, err = n.stream.Recv()
	return err
}

// share does something for each node, for as many at a time as there are clients.
func share(ctx context.Context, s settings, nodes []connectedNode, do func(context.Context, int, *connectedNode) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.clients)
	for i := range nodes {
		group.Go(func() error { return do(ctx, i, &nodes[i]) })
	}
	return group.Wait()
}

func fillQueue(ctx context.Context, conn *grpc.ClientConn) error {
	count := int32(maxArray)
	for range queuedJobs / maxArray {
		_, err := orchionv1.NewJobsClient(conn).SubmitJob(ctx, &orchionv1.SubmitJobRequest{
			Count: &count,
			Spec: &orchionv1.JobSpec{
				Kind:        &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: "busybox", Args: []string{"true"}}},
				Constraints: []string{"os=plan9"},
			},
		})
		if err != nil {
			return fmt.Errorf("filling the queue: %w", err)
		}
	}
	return nil
}
