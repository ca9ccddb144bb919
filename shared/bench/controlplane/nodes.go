package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// connections are shared by the simulated nodes: what is measured is the
// registry, not the memory of ten thousand sockets.
const connections = 8

// measureNodes registers many nodes and lets them beat.
func measureNodes(ctx context.Context, s settings, dir string) error {
	p, err := measure.StartOrchestrator(ctx, dir, "nodes")
	if err != nil {
		return err
	}
	defer p.Stop()
	var conns []*grpc.ClientConn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close() // nothing is left to be lost
		}
	}()
	for range connections {
		conn, err := measure.Dial(p.GRPC)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	// Everything is in place before the first node counts.
	if _, err := rate(ctx, s, conns, time.Second, healthCheck); err != nil {
		return err
	}
	before := p.ResidentBytes()

	began := time.Now()
	if err := registerNodes(ctx, s, conns); err != nil {
		return err
	}
	registered := time.Since(began)
	after := p.ResidentBytes()

	// In turns, so that a machine that slows down slows both.
	var beats, checks float64
	const rounds = 3
	var next atomic.Int64
	heartbeat := func(ctx context.Context, conn *grpc.ClientConn) error {
		id := nodeName(int(next.Add(1)) % s.nodes)
		_, err := orchionv1.NewOrchestratorClient(conn).Heartbeat(ctx, &orchionv1.HeartbeatRequest{
			NodeId: id,
			Usage: &orchionv1.NodeUsage{
				CpuPercent: 12.5, MemoryUsedBytes: 8 << 30, RunningJobs: 1,
				Gpus: []*orchionv1.GpuUsage{{Uuid: "GPU-" + id, UtilizationPercent: 50, MemoryUsedBytes: 1 << 30}},
			},
		})
		return err
	}
	for range rounds {
		n, err := rate(ctx, s, conns, s.duration/rounds, heartbeat)
		if err != nil {
			return err
		}
		beats = max(beats, n)
		if n, err = rate(ctx, s, conns, s.duration/rounds, healthCheck); err != nil {
			return err
		}
		checks = max(checks, n)
	}
	measure.Row(fmt.Sprintf("heartbeats/s, unary, %d nodes", s.nodes), beats, checks, "%.0f")
	measure.Fact(fmt.Sprintf("registrations/s, durable, %d clients", s.clients), fmt.Sprintf("%.0f", float64(s.nodes)/registered.Seconds()))
	measure.Fact("resident memory per registered node", fmt.Sprintf("%d B", (after-before)/int64(s.nodes)))
	measure.Fact(fmt.Sprintf("resident memory with %d nodes, beating", s.nodes), fmt.Sprintf("%d MiB", p.ResidentBytes()>>20))
	return nil
}

func registerNodes(ctx context.Context, s settings, conns []*grpc.ClientConn) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.clients {
		client := orchionv1.NewOrchestratorClient(conns[i%len(conns)])
		group.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= s.nodes {
					return nil
				}
				if _, err := client.RegisterNode(ctx, &orchionv1.RegisterNodeRequest{Node: measure.SimulatedNode(nodeName(n))}); err != nil {
					return fmt.Errorf("registering: %w", err)
				}
			}
		})
	}
	return group.Wait()
}

func nodeName(n int) string { return fmt.Sprintf("node-%05d", n) }

func healthCheck(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

// rate calls from all clients for the duration and answers calls per second.
func rate(ctx context.Context, s settings, conns []*grpc.ClientConn, d time.Duration, call func(context.Context, *grpc.ClientConn) error) (float64, error) {
	var calls atomic.Int64
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.clients {
		group.Go(func() error {
			for time.Since(began) < d {
				if err := call(ctx, conns[i%len(conns)]); err != nil {
					return err
				}
				calls.Add(1)
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(calls.Load()) / time.Since(began).Seconds(), err
}
