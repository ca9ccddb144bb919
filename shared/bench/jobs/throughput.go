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
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// stepsPerJob are the durable changes of a job's life: submit, claim, start,
// complete.
const stepsPerJob = 4

// measureThroughput runs jobs from submission to their accepted end, on more
// and more nodes.
func measureThroughput(ctx context.Context, s settings, dir string) error {
	syncs, err := syncsPerSecond(dir, s.syncs)
	if err != nil {
		return err
	}
	for _, nodes := range []int{1, 10, 100} {
		if err := measureNodes(ctx, s, dir, nodes, syncs); err != nil {
			return fmt.Errorf("%d nodes: %w", nodes, err)
		}
	}
	return nil
}

func measureNodes(ctx context.Context, s settings, dir string, nodes int, syncs float64) error {
	p, err := measure.StartOrchestrator(ctx, dir, fmt.Sprintf("jobs-%d", nodes))
	if err != nil {
		return err
	}
	defer p.Stop()
	running, stop := context.WithCancel(ctx)
	defer stop()
	all := &simulated{ended: make(chan error, nodes+1), jobs: int64(s.jobs)}
	var conns []*grpc.ClientConn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close() // nothing is left to be lost
		}
	}()
	for i := range nodes {
		conn, err := measure.Dial(p.GRPC)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if err := all.connect(running, conn, fmt.Sprintf("bench-%03d", i)); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := submitJobs(ctx, p.URL, s); err != nil {
		return err
	}
	submitted := time.Since(began)
	select {
	case err := <-all.ended:
		if err != nil {
			return err
		}
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("only %d of %d jobs completed", all.completed.Load(), s.jobs)
	}
	took := time.Since(began)
	measure.Row(fmt.Sprintf("jobs/s, submit to complete, %d clients, %d nodes", s.clients, nodes), float64(s.jobs)/took.Seconds(), syncs/stepsPerJob, "%.0f")
	measure.Row("  submitted and durable", float64(s.jobs)/submitted.Seconds(), syncs, "%.0f")
	measure.Fact("  memory of the orchestrator after them", fmt.Sprintf("%d MiB", p.ResidentBytes()>>20))
	return nil
}

// measureIdleLatency submits one job after the other and sees when the node is
// told.
func measureIdleLatency(ctx context.Context, s settings, dir string) error {
	p, err := measure.StartOrchestrator(ctx, dir, "latency")
	if err != nil {
		return err
	}
	defer p.Stop()
	conn, err := measure.Dial(p.GRPC)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to be lost
	running, stop := context.WithCancel(ctx)
	defer stop()
	const tries = 300
	file, err := os.Create(filepath.Join(dir, "idle-sync"))
	if err != nil {
		return err
	}
	defer file.Close()
	told := make(chan time.Time, tries)
	one := &simulated{ended: make(chan error, 2), jobs: tries, told: told}
	if err := one.connect(running, conn, "bench"); err != nil {
		return err
	}
	var times, floor []time.Duration
	for range tries {
		// In turns: a disk and a processor that have rested take longer.
		sync, err := syncOnce(file)
		if err != nil {
			return err
		}
		floor = append(floor, sync)
		if err := pause(ctx, idlePause); err != nil {
			return err
		}
		began := time.Now()
		if err := call(ctx, http.MethodPost, p.URL+"/api/jobs", &orchionv1.SubmitJobRequest{Spec: noOp()}, nil); err != nil {
			return err
		}
		select {
		case at := <-told:
			times = append(times, at.Sub(began))
		case err := <-one.ended:
			return errors.Join(errors.New("the node's stream ended"), err)
		}
		// Its end is written before the next begins.
		if err := pause(ctx, idlePause); err != nil {
			return err
		}
	}
	for _, q := range []float64{0.5, 0.99} {
		measure.Row(fmt.Sprintf("ms from submit to a node's being told, idle, p%.0f", q*100), milliseconds(percentile(times, q)), milliseconds(percentile(floor, q)), "%.2f")
	}
	return nil
}

// idlePause lies between two tries on an orchestrator that does nothing else.
const idlePause = 20 * time.Millisecond

// syncOnce writes a page and waits for the disk, as a job is written before its node
// is told.
func syncOnce(file *os.File) (time.Duration, error) {
	began := time.Now()
	if _, err := file.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// simulated are nodes that run each job in no time.
type simulated struct {
	completed atomic.Int64
	jobs      int64
	ended     chan error     // nil: so many jobs are acknowledged
	told      chan time.Time // when jobs arrived; nil: does not matter
}

// connect registers a node and serves its stream until ctx is done.
func (n *simulated) connect(ctx context.Context, conn *grpc.ClientConn, id string) error {
	node := measure.SimulatedNode(id)
	if _, err := orchionv1.NewOrchestratorClient(conn).RegisterNode(ctx, &orchionv1.RegisterNodeRequest{Node: node}); err != nil {
		return err
	}
	stream, err := orchionv1.NewNodeSessionClient(conn).Connect(metadata.AppendToOutgoingContext(ctx, "orchion-node-id", id))
	if err != nil {
		return err
	}
	if err := stream.Send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: &orchionv1.Hello{}}}); err != nil {
		return err
	}
	go func() {
		if err := n.serve(stream); ctx.Err() == nil {
			n.ended <- err
		}
	}()
	return nil
}

type nodeStream = grpc.BidiStreamingClient[orchionv1.ConnectRequest, orchionv1.ConnectResponse]

// serve ends when all jobs of all nodes are acknowledged.
func (n *simulated) serve(stream nodeStream) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		switch message := response.GetMessage().(type) {
		case *orchionv1.ConnectResponse_Assignments:
			for _, assignment := range message.Assignments.GetJobs() {
				if err := n.finish(stream, assignment); err != nil {
					return err
				}
			}
		case *orchionv1.ConnectResponse_AssignJob:
			if err := n.finish(stream, message.AssignJob); err != nil {
				return err
			}
		case *orchionv1.ConnectResponse_AttemptAcknowledged:
			if !message.AttemptAcknowledged.GetAccepted() {
				return fmt.Errorf("the end of %v was not accepted", message.AttemptAcknowledged.GetRef())
			}
			if n.completed.Add(1) == n.jobs {
				return nil
			}
		}
	}
}

// finish says of a job that it has run and succeeded.
func (n *simulated) finish(stream nodeStream, assignment *orchionv1.JobAssignment) error {
	if n.told != nil {
		n.told <- time.Now()
	}
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

// call makes a REST request.
func call(ctx context.Context, method, url string, body, out proto.Message) error {
	var payload io.Reader = http.NoBody
	if body != nil {
		data, err := protojson.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, payload)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, url, response.Status, data)
	}
	if out == nil {
		return nil
	}
	return protojson.Unmarshal(data, out)
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
