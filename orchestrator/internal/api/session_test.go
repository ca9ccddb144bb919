package api

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// agent is a node as far as its streams go.
type agent struct {
	t        *testing.T
	ctx      context.Context
	sessions orchionv1.NodeSessionClient
	stream   orchionv1.NodeSession_ConnectClient
	sequence uint64
}

// connect registers a node and opens its stream.
func (h *harness) connect(t *testing.T, id string) *agent {
	t.Helper()
	h.register(t, worker(id), "run")
	a := &agent{t: t, ctx: asNode(t.Context(), id, "run"), sessions: orchionv1.NewNodeSessionClient(h.conn)}
	var err error
	if a.stream, err = a.sessions.Connect(a.ctx); err != nil {
		t.Fatal(err)
	}
	a.send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: &orchionv1.Hello{}}})
	if set := a.receive().GetAssignments(); set == nil {
		t.Fatal("the stream does not begin with the full set")
	}
	return a
}

func (a *agent) send(m *orchionv1.ConnectRequest) {
	a.t.Helper()
	if err := a.stream.Send(m); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) receive() *orchionv1.ConnectResponse {
	a.t.Helper()
	m, err := a.stream.Recv()
	if err != nil {
		a.t.Fatal(err)
	}
	if a.sequence++; m.GetSequence() != a.sequence {
		a.t.Fatalf("message %d has the sequence %d", a.sequence, m.GetSequence())
	}
	return m
}

func (a *agent) status(s *orchionv1.AttemptStatus) {
	a.t.Helper()
	a.send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_AttemptStatus{AttemptStatus: s}})
}

// pushLogs sends lines of stdout as an attempt's whole log.
func (a *agent) pushLogs(ref *orchionv1.AttemptRef, lines ...string) {
	a.t.Helper()
	stream, err := a.sessions.PushLogs(a.ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := stream.Send(&orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Open{Open: &orchionv1.OpenLog{Ref: ref}}}); err != nil {
		a.t.Fatal(err)
	}
	held, err := stream.Recv()
	if err != nil || held.GetStdoutLines() != 0 {
		a.t.Fatalf("a new log holds %v, %v", held, err)
	}
	batch := &orchionv1.LogBatch{}
	for i, text := range lines {
		batch.Entries = append(batch.Entries, &orchionv1.LogEntry{Stream: "stdout", Line: int64(i + 1), Text: text, Time: timestamppb.Now()})
	}
	if err := stream.Send(&orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Batch{Batch: batch}}); err != nil {
		a.t.Fatal(err)
	}
	if held, err = stream.Recv(); err != nil || held.GetStdoutLines() != int64(len(lines)) || held.GetClosed() {
		a.t.Fatalf("after a batch the log holds %v, %v", held, err)
	}
	if err := stream.CloseSend(); err != nil {
		a.t.Fatal(err)
	}
	if held, err = stream.Recv(); err != nil || !held.GetClosed() {
		a.t.Fatalf("a complete log answers %v, %v", held, err)
	}
	if _, err := stream.Recv(); err != io.EOF { //nolint:errorlint // gRPC answers io.EOF itself
		a.t.Fatalf("the stream ends with %v", err)
	}
}

func TestJobFromSubmitToLog(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	id := h.submit(t, `{"name":"hello","spec":{"container":{"image":"alpine","env":{"A":"b"}},"timeout":"30s"}}`)
	assigned := a.receive().GetAssignJob()
	ref := assigned.GetRef()
	if ref.GetJobId() != id || ref.GetAttempt() != 1 || assigned.GetSpec().GetContainer().GetEnv()["A"] != "b" ||
		assigned.GetLeaseTtl().AsDuration() != dispatch.DefaultLeaseTTL || assigned.GetSpec().GetTimeout().AsDuration() != 30*time.Second {
		t.Fatalf("assigned is %v", assigned)
	}

	follower := h.openStream(t, "/api/jobs/"+id+"/logs?follow=true", "Accept: text/event-stream")
	a.status(&orchionv1.AttemptStatus{Ref: ref, State: orchionv1.AttemptState_ATTEMPT_STATE_RUNNING, StartedAt: timestamppb.Now()})
	a.send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_RenewLeases{RenewLeases: &orchionv1.RenewLeases{
		Sequence: 7, Attempts: []*orchionv1.AttemptRef{ref, {JobId: "0190", Attempt: 1}},
	}}})
	renewed := a.receive().GetLeasesRenewed()
	if renewed.GetSequence() != 7 || len(renewed.GetRenewed()) != 1 || len(renewed.GetLost()) != 1 || renewed.GetLost()[0].GetJobId() != "0190" {
		t.Errorf("renewed is %v", renewed)
	}
	a.pushLogs(ref, "one", "two", "three")
	code := int32(0)
	a.status(&orchionv1.AttemptStatus{Ref: ref, State: orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED, ExitCode: &code, Output: "three"})
	if ack := a.receive().GetAttemptAcknowledged(); !ack.GetAccepted() || ack.GetRef().GetJobId() != id {
		t.Errorf("acknowledged is %v", ack)
	}

	var last sseEvent
	for _, want := range []string{"one", "two", "three"} {
		if last = follower.next(t); last.name != "log" || !strings.Contains(last.data, `"text":"`+want+`"`) {
			t.Fatalf("the follower sees %+v, want %q", last, want)
		}
	}
	if e := follower.next(t); e.name != "end" || e.data != `{"state":"JOB_STATE_SUCCEEDED"}` {
		t.Errorf("the follower's end is %+v", e)
	}
	if resumed := h.openStream(t, "/api/jobs/"+id+"/logs", "Accept: text/event-stream", "Last-Event-ID: "+last.id).next(t); resumed.name != "end" {
		t.Errorf("resumed after %q comes %+v", last.id, resumed)
	}

	var j struct {
		State  string
		Result struct {
			ExitCode *int
			Output   string
		}
		Attempts []struct {
			Number        int
			NodeID, State string
		}
	}
	h.call(t, http.MethodGet, "/api/jobs/"+id, "").decode(t, &j)
	if j.State != "JOB_STATE_SUCCEEDED" || *j.Result.ExitCode != 0 || j.Result.Output != "three" ||
		len(j.Attempts) != 1 || j.Attempts[0].NodeID != "n1" || j.Attempts[0].State != "ATTEMPT_STATE_SUCCEEDED" {
		t.Errorf("in the end the job is %+v", j)
	}
	logs := "/api/jobs/" + id + "/logs"
	if got := h.call(t, http.MethodGet, logs, ""); string(got.body) != "one\ntwo\nthree\n" || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the log is %q %v", got.body, got.header)
	}
	if got := h.call(t, http.MethodGet, logs+"?tail=1&attempt=1&follow=true", ""); string(got.body) != "three\n" {
		t.Errorf("the tail is %q", got.body)
	}
	h.call(t, http.MethodGet, logs+"?attempt=2", "").wantError(t, http.StatusNotFound, codes.NotFound, "there is no attempt 2")
	lines := h.call(t, http.MethodGet, logs, "", "Accept: application/x-ndjson")
	if got := strings.Count(string(lines.body), "\n"); got != 3 || !strings.HasPrefix(string(lines.body), `{"stream":"stdout","attempt":1,"time":"`) {
		t.Errorf("as JSON the log is %s", lines.body)
	}
	stream, err := h.jobs.ReadJobLogs(t.Context(), &orchionv1.ReadJobLogsRequest{Id: id, Tail: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"two", "three"} {
		if e, err := stream.Recv(); err != nil || e.GetText() != want {
			t.Errorf("over gRPC comes %v, %v", e, err)
		}
	}
	if _, err := stream.Recv(); err != io.EOF { //nolint:errorlint // gRPC answers io.EOF itself
		t.Errorf("the log ends with %v", err)
	}
	h.call(t, http.MethodPost, "/api/jobs/"+id+":cancel", "").
		wantError(t, http.StatusBadRequest, codes.FailedPrecondition, "succeeded")
}

func TestFollowerOfAQueuedJobSeesItsEnd(t *testing.T) {
	h := newHarness(t, settings{})
	id := h.submit(t, goodJob)
	follower := h.openStream(t, "/api/jobs/"+id+"/logs?follow=true", "Accept: text/event-stream")
	h.call(t, http.MethodPost, "/api/jobs/"+id+":cancel", "")
	if e := follower.next(t); e.name != "end" || e.data != `{"state":"JOB_STATE_CANCELLED"}` {
		t.Errorf("the follower sees %+v", e)
	}
}

func TestNodeThatLeavesGivesItsJobsBack(t *testing.T) {
	h := newHarness(t, settings{})
	first := h.connect(t, "n1")
	id := h.submit(t, goodJob)
	if got := first.receive().GetAssignJob().GetRef(); got.GetAttempt() != 1 {
		t.Fatalf("assigned is %v", got)
	}
	second := h.connect(t, "n2")
	if _, err := h.nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: "n1", InstanceId: "run", Reason: "shutdown"}); err != nil {
		t.Fatal(err)
	}
	if got := second.receive().GetAssignJob().GetRef(); got.GetJobId() != id || got.GetAttempt() != 2 {
		t.Errorf("the other node is assigned %v", got)
	}
}

func TestStreamsOfNodesAreChecked(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "one")
	sessions, tunnels := orchionv1.NewNodeSessionClient(h.conn), orchionv1.NewTunnelClient(h.conn)
	hello := &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: &orchionv1.Hello{}}}
	connect := func(ctx context.Context, messages ...*orchionv1.ConnectRequest) error {
		stream, err := sessions.Connect(ctx)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				break // Recv says why
			}
		}
		for {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
	}
	push := func(ctx context.Context, m *orchionv1.PushLogsRequest) error {
		stream, err := sessions.PushLogs(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(m) // Recv says why it failed
		_, err = stream.Recv()
		return err
	}
	open := func(id string, attempt int32) *orchionv1.PushLogsRequest {
		return &orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Open{Open: &orchionv1.OpenLog{Ref: &orchionv1.AttemptRef{JobId: id, Attempt: attempt}}}}
	}
	me := func() context.Context { return asNode(t.Context(), "n1", "one") }
	for name, tc := range map[string]struct {
		call func() error
		code codes.Code
		want string
	}{
		"no metadata": {func() error { return connect(t.Context(), hello) }, codes.InvalidArgument, "orchion-node-id: must be given as metadata"},
		"odd node":    {func() error { return connect(asNode(t.Context(), "a b", ""), hello) }, codes.InvalidArgument, `orchion-node-id: is "a b"`},
		"stranger":    {func() error { return connect(asNode(t.Context(), "n9", ""), hello) }, codes.NotFound, `node "n9" is not registered`},
		"superseded":  {func() error { return connect(asNode(t.Context(), "n1", "zero"), hello) }, codes.Aborted, "taken over by another node agent"},
		"no hello": {func() error {
			return connect(me(), &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_RenewLeases{}})
		}, codes.InvalidArgument, "hello: must be the first message of the stream"},
		"two hellos": {func() error { return connect(me(), hello, hello) }, codes.InvalidArgument, "hello: may only be the first message"},
		"lost is not a node's to say": {func() error {
			return connect(me(), hello, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_AttemptStatus{AttemptStatus: &orchionv1.AttemptStatus{
				Ref: &orchionv1.AttemptRef{JobId: "0190", Attempt: 1}, State: orchionv1.AttemptState_ATTEMPT_STATE_LOST,
			}}})
		}, codes.InvalidArgument, "attemptStatus.state: is ATTEMPT_STATE_LOST"},
		"attempt 0": {func() error {
			return connect(me(), hello, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_RenewLeases{
				RenewLeases: &orchionv1.RenewLeases{Attempts: []*orchionv1.AttemptRef{{JobId: "0190"}}},
			}})
		}, codes.InvalidArgument, "renewLeases.attempts[0].attempt: is 0"},
		"bad engine": {func() error {
			return connect(me(), hello, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_EnginesChanged{
				EnginesChanged: &orchionv1.EnginesChanged{Engines: []*orchionv1.LocalEngine{{Name: "x", Endpoint: "nowhere"}}},
			}})
		}, codes.InvalidArgument, "enginesChanged.engines[0].endpoint"},
		"image without a name": {func() error {
			return connect(me(), hello, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_ImagesChanged{
				ImagesChanged: &orchionv1.ImagesChanged{Images: []string{"a", ""}},
			}})
		}, codes.InvalidArgument, "imagesChanged.images[1]: must not be empty"},
		"too many images": {func() error {
			return connect(me(), hello, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_ImagesChanged{
				ImagesChanged: &orchionv1.ImagesChanged{Images: slices.Repeat([]string{"a"}, 1025)},
			}})
		}, codes.InvalidArgument, "imagesChanged.images: has 1025 entries"},
		"bad replica": {func() error {
			return connect(me(), hello, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_ReplicaStatus{ReplicaStatus: &orchionv1.ReplicaStatus{ReplicaId: "r"}}})
		}, codes.InvalidArgument, "replicaStatus.state: is REPLICA_STATE_UNSPECIFIED"},
		"log not opened":    {func() error { return push(me(), &orchionv1.PushLogsRequest{}) }, codes.InvalidArgument, "open: must be the first message"},
		"log climbs":        {func() error { return push(me(), open("../../etc", 1)) }, codes.InvalidArgument, `open.ref.jobId: is "../../etc"`},
		"log of another":    {func() error { return push(me(), open("0190", 1)) }, codes.FailedPrecondition, "attempt 1 of job 0190 is not node n1's, or has ended"},
		"tunnel without id": {func() error { return serve(me(), tunnels) }, codes.InvalidArgument, "orchion-tunnel-id: must not be empty"},
		"tunnel not asked": {func() error {
			return serve(asNode(t.Context(), "n1", "one", keyTunnelID, "made-up"), tunnels)
		}, codes.NotFound, `no tunnel "made-up" waits for node n1`},
		"call without job": {func() error { return callGateway(me(), tunnels) }, codes.InvalidArgument, "orchion-job-id: must not be empty"},
		"call without attempt": {func() error {
			return callGateway(asNode(t.Context(), "n1", "one", keyJobID, "0190", keyAttempt, "x"), tunnels)
		}, codes.InvalidArgument, "orchion-attempt: must be a number from 1"},
		"call of another": {func() error {
			return callGateway(asNode(t.Context(), "n1", "one", keyJobID, "0190", keyAttempt, "1"), tunnels)
		}, codes.FailedPrecondition, "is not node n1's"},
	} {
		t.Run(name, func(t *testing.T) { wantStatus(t, tc.call(), tc.code, tc.want) })
	}
}

func serve(ctx context.Context, client orchionv1.TunnelClient) error {
	stream, err := client.Serve(ctx)
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func callGateway(ctx context.Context, client orchionv1.TunnelClient) error {
	stream, err := client.Call(ctx)
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func TestNewerStreamReplacesOlder(t *testing.T) {
	h := newHarness(t, settings{})
	first := h.connect(t, "n1")
	second := h.connect(t, "n1")
	_, err := first.stream.Recv()
	wantStatus(t, err, codes.Unavailable, "replaced by a newer one")
	h.submit(t, goodJob)
	if got := second.receive().GetAssignJob(); got == nil {
		t.Error("the newer stream gets no work")
	}
}

// TestLargeAssignmentSet has a node connect that holds more than fits into the
// messages that clients send.
func TestLargeAssignmentSet(t *testing.T) {
	h := newHarness(t, settings{})
	first := h.connect(t, "n1")
	const jobs = 16
	large := strings.Repeat("x", 200<<10)
	for range jobs {
		h.submit(t, `{"spec":{"container":{"image":"alpine","command":["`+large+`"],"args":["`+large+`"]}}}`)
	}
	held := &orchionv1.Hello{}
	for range jobs {
		held.Attempts = append(held.Attempts, &orchionv1.AttemptStatus{
			Ref: first.receive().GetAssignJob().GetRef(), State: orchionv1.AttemptState_ATTEMPT_STATE_ASSIGNED,
		})
	}
	stream, err := first.sessions.Connect(first.ctx, grpc.MaxCallRecvMsgSize(16<<20)) // as node agents do
	if err != nil {
		t.Fatal(err)
	}
	hello := &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: held}}
	if err := stream.Send(hello); err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil || len(m.GetAssignments().GetJobs()) != jobs {
		t.Errorf("the full set has %d jobs, %v; want %d", len(m.GetAssignments().GetJobs()), err, jobs)
	}
}

func TestTunnelCarriesBytes(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	type dialled struct {
		text string
		err  error
	}
	answered := make(chan dialled, 1)
	go func() {
		conn, err := h.tunnels.Dial(t.Context(), "n1", tunnel.Target{EngineEndpoint: "http://127.0.0.1:11434"})
		if err != nil {
			answered <- dialled{err: err}
			return
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("ping")); err != nil {
			answered <- dialled{err: err}
			return
		}
		buf := make([]byte, 4)
		_, err = io.ReadFull(conn, buf)
		answered <- dialled{string(buf), err}
	}()
	asked := a.receive().GetOpenTunnel()
	if asked.GetEngineEndpoint() != "http://127.0.0.1:11434" {
		t.Fatalf("asked for %v", asked)
	}
	stream, err := orchionv1.NewTunnelClient(h.conn).Serve(asNode(t.Context(), "n1", "run", keyTunnelID, asked.GetTunnelId()))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || string(m.GetData()) != "ping" {
		t.Fatalf("the node receives %v, %v", m, err)
	}
	if err := stream.Send(&orchionv1.ServeRequest{Data: []byte("pong")}); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.err != nil || got.text != "pong" {
		t.Errorf("the gateway receives %q, %v", got.text, got.err)
	}
}

func TestRefusedTunnel(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	failed := make(chan error, 1)
	go func() {
		_, err := h.tunnels.Dial(t.Context(), "n1", tunnel.Target{ReplicaID: "r1"})
		failed <- err
	}()
	asked := a.receive().GetOpenTunnel()
	a.send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_TunnelRefused{
		TunnelRefused: &orchionv1.TunnelRefused{TunnelId: asked.GetTunnelId(), Reason: "connection refused"},
	}})
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Dial answers %v", err)
	}
}

// What a node says of a failure stands in the job's attempts. What is not its to
// say, or not known here, does not keep the attempt from ending.
func TestClassOfAFailure(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")
	a := h.connect(t, "n1")
	for class, want := range map[orchionv1.FailureClass]orchionv1.FailureClass{
		orchionv1.FailureClass_FAILURE_CLASS_OUT_OF_MEMORY: orchionv1.FailureClass_FAILURE_CLASS_OUT_OF_MEMORY,
		orchionv1.FailureClass_FAILURE_CLASS_NODE_LOST:     orchionv1.FailureClass_FAILURE_CLASS_UNSPECIFIED,
		99: orchionv1.FailureClass_FAILURE_CLASS_UNSPECIFIED,
	} {
		id := h.submit(t, goodJob)
		ref := a.receive().GetAssignJob().GetRef()
		a.status(&orchionv1.AttemptStatus{Ref: ref, State: orchionv1.AttemptState_ATTEMPT_STATE_FAILED, Reason: "it went wrong", Failure: class})
		if ack := a.receive().GetAttemptAcknowledged(); !ack.GetAccepted() {
			t.Errorf("%v: acknowledged is %v", class, ack)
		}
		j, err := h.jobs.GetJob(t.Context(), &orchionv1.GetJobRequest{Id: id})
		if err != nil || j.GetState() != orchionv1.JobState_JOB_STATE_FAILED || j.GetAttempts()[0].GetFailure() != want {
			t.Errorf("after %v: %v, %v", class, j, err)
		}
	}
}
