package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// stepsPerJob are the durable changes of a job's life: submit, claim, start,
// complete.
const stepsPerJob = 4

// measureJobs runs jobs from submission to their accepted end.
func measureJobs(ctx context.Context, s settings, dir string) error {
	syncs, err := syncsPerSecond(dir, s.duration/2)
	if err != nil {
		return err
	}
	p, err := startOrchestrator(ctx, dir, "jobs")
	if err != nil {
		return err
	}
	defer p.stop()
	conn, err := dial(p.grpc)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to be lost

	const nodeID = "bench-node"
	client := orchionv1.NewOrchestratorClient(conn)
	if _, err := client.RegisterNode(ctx, &orchionv1.RegisterNodeRequest{Node: simulatedNode(nodeID)}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var completed atomic.Int64
	done := make(chan error, 1)
	stream, err := orchionv1.NewNodeSessionClient(conn).Connect(metadata.AppendToOutgoingContext(ctx, "orchion-node-id", nodeID))
	if err != nil {
		return err
	}
	go func() { done <- runJobs(stream, &completed, int64(s.jobs)) }()

	began := time.Now()
	if err := submitJobs(ctx, p.url, s); err != nil {
		return err
	}
	submitted := time.Since(began)
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("only %d of %d jobs completed", completed.Load(), s.jobs)
	}
	took := time.Since(began)
	row(fmt.Sprintf("jobs/s, submit to complete, %d clients", s.clients), float64(s.jobs)/took.Seconds(), syncs/stepsPerJob, "%.0f")
	row(fmt.Sprintf("jobs/s, submitted and durable, %d clients", s.clients), float64(s.jobs)/submitted.Seconds(), syncs, "%.0f")
	fact("memory of the orchestrator after them", fmt.Sprintf("%d MiB", p.residentBytes()>>20))
	return nil
}

// runJobs is a node that runs each job in no time. It ends when so many are
// acknowledged.
func runJobs(stream grpc.BidiStreamingClient[orchionv1.ConnectRequest, orchionv1.ConnectResponse], completed *atomic.Int64, jobs int64) error {
	hello := &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: &orchionv1.Hello{}}}
	if err := stream.Send(hello); err != nil {
		return err
	}
	finish := func(assignment *orchionv1.JobAssignment) error {
		var code int32
		for _, status := range []*orchionv1.AttemptStatus{
			{Ref: assignment.GetRef(), State: orchionv1.AttemptState_ATTEMPT_STATE_RUNNING},
			{Ref: assignment.GetRef(), State: orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED, ExitCode: &code},
		} {
			if err := stream.Send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_AttemptStatus{AttemptStatus: status}}); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		switch message := response.GetMessage().(type) {
		case *orchionv1.ConnectResponse_Assignments:
			for _, assignment := range message.Assignments.GetJobs() {
				if err := finish(assignment); err != nil {
					return err
				}
			}
		case *orchionv1.ConnectResponse_AssignJob:
			if err := finish(message.AssignJob); err != nil {
				return err
			}
		case *orchionv1.ConnectResponse_AttemptAcknowledged:
			if !message.AttemptAcknowledged.GetAccepted() {
				return fmt.Errorf("the end of %v was not accepted", message.AttemptAcknowledged.GetRef())
			}
			if completed.Add(1) == jobs {
				return nil
			}
		}
	}
}

// submitJobs submits over REST, as clients do.
func submitJobs(ctx context.Context, url string, s settings) error {
	transport := &http.Transport{MaxIdleConnsPerHost: s.clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	body := []byte(`{"spec":{"container":{"image":"bench"}}}`)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range s.clients {
		group.Go(func() error {
			for next.Add(1) <= int64(s.jobs) {
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/jobs", bytes.NewReader(body))
				if err != nil {
					return err
				}
				request.Header.Set("Content-Type", "application/json")
				response, err := client.Do(request)
				if err != nil {
					return err
				}
				answer, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					return fmt.Errorf("submitting: %s: %s: %w", response.Status, answer, errors.Join(err))
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// syncsPerSecond is what one naive durable writer reaches: write a page, wait
// for the disk.
func syncsPerSecond(dir string, d time.Duration) (float64, error) {
	file, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	page := make([]byte, 4096)
	n, began := 0, time.Now()
	for time.Since(began) < d {
		if _, err := file.Write(page); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func simulatedNode(id string) *orchionv1.Node {
	return &orchionv1.Node{
		Id: id, Hostname: id + ".bench", AgentVersion: "bench",
		Labels: map[string]string{"room": "bench"},
		Capabilities: &orchionv1.Capabilities{
			Os: "linux", Arch: "amd64", Platform: "debian 12", Kernel: "6.1.0",
			Cpu:      &orchionv1.Cpu{Model: "bench", PhysicalCores: 8, LogicalCores: 16},
			Memory:   &orchionv1.Memory{TotalBytes: 64 << 30},
			Disk:     &orchionv1.Disk{TotalBytes: 1 << 40, Path: "/var/lib/orchion"},
			Gpus:     []*orchionv1.Gpu{{Vendor: "nvidia", Model: "NVIDIA GeForce RTX 3090", MemoryBytes: 24 << 30, DriverVersion: "580.126.09", Uuid: "GPU-" + id}},
			Runtimes: []*orchionv1.ContainerRuntime{{Name: "podman", Version: "5.4.2", Endpoint: "unix:///run/podman/podman.sock"}},
		},
	}
}
