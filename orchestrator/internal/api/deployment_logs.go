package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// maxEngineTail bounds how many entries from the end can be asked for.
	maxEngineTail = 10_000
	// maxEngineEntry bounds one entry as a node sends it.
	maxEngineEntry = 256 << 10
)

func (s *deployments) ReadDeploymentLogs(req *orchionv1.ReadDeploymentLogsRequest, stream grpc.ServerStreamingServer[orchionv1.LogEntry]) error {
	return s.readLog(stream.Context(), req, func(entry *job.LogEntry) error { return stream.Send(logEntryToProto(entry)) })
}

// readLog reads the log of an engine's container from its node.
func (s *deployments) readLog(ctx context.Context, req *orchionv1.ReadDeploymentLogsRequest, emit func(*job.LogEntry) error) error {
	if err := checkDeploymentName("name", req.GetName()); err != nil {
		return err
	}
	if err := checkRange("tail", req.GetTail(), 0, maxEngineTail); err != nil {
		return err
	}
	d, err := s.cfg.Deployments.Get(req.GetName())
	if err != nil {
		return err
	}
	r, err := logReplica(&d, req.GetReplicaId())
	if err != nil {
		return err
	}
	conn, err := s.cfg.Tunnels.Dial(ctx, r.NodeID, tunnel.Target{
		Log: &dispatch.EngineLog{ReplicaID: r.ID, Tail: int(req.GetTail()), Follow: req.GetFollow()},
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	// Reading does not end by itself when nobody listens any more.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if len(d.Replicas) > 1 && req.GetReplicaId() == "" {
		if err := emit(&job.LogEntry{Note: true, Text: fmt.Sprintf("log of replica %s on node %s", r.ID, r.NodeID)}); err != nil {
			return err
		}
	}
	in := bufio.NewReaderSize(conn, 32<<10)
	for {
		entry := &orchionv1.LogEntry{}
		switch err := (protodelim.UnmarshalOptions{MaxSize: maxEngineEntry}).UnmarshalFrom(in, entry); {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fault.New(fault.Unavailable, "the log from node %s broke off: %v", r.NodeID, err)
		}
		read := job.LogEntry{Stream: job.Stdout, Line: entry.GetLine(), Time: timeFromProto(entry.GetTime()), Text: entry.GetText(), Note: entry.GetNote()}
		if entry.GetStream() == stderrName {
			read.Stream = job.Stderr
		}
		if err := emit(&read); err != nil {
			return err
		}
	}
}

// logReplica chooses the replica whose log is read.
func logReplica(d *model.Deployment, id string) (*model.Replica, error) {
	var found *model.Replica
	for i := range d.Replicas {
		r := &d.Replicas[i]
		switch {
		case id != "" && r.ID != id:
		case r.NodeID == "":
			if id != "" {
				return nil, fault.New(fault.Precondition, "replica %s is on no node yet, and has no log", id)
			}
		case found == nil || found.State != model.Ready && r.State == model.Ready:
			found = r
		}
	}
	switch {
	case found != nil:
		return found, nil
	case id != "":
		return nil, fault.New(fault.NotFound, "deployment %s has no replica %q", d.Name, clip(id))
	case d.Spec.Engine == model.External:
		return nil, fault.New(fault.Precondition, "deployment %s is served by engines that Orchion does not start; they keep their logs themselves", d.Name)
	default:
		return nil, fault.New(fault.Precondition, "deployment %s has no replica on a node, and no log", d.Name)
	}
}

// engineLog serves /api/deployments/{name}/logs.
type engineLog struct {
	deployments *deployments
	until       func(context.Context) (context.Context, context.CancelFunc)
	report      func(ctx context.Context, method string, err error) *status.Status
}

func (h *engineLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := engineLogFromHTTP(r)
	if err != nil {
		writeError(w, err)
		return
	}
	if r.Method == http.MethodHead {
		req.Follow, req.Tail = false, 1
	}
	ctx, cancel := h.until(r.Context())
	defer cancel()
	out := newLogWriter(w, r)
	err = h.deployments.readLog(ctx, req, func(entry *job.LogEntry) error {
		return out.write(logBatch{entries: []job.LogEntry{*entry}})
	})
	switch {
	case r.Context().Err() != nil:
	case err == nil:
		if err := out.write(logBatch{ended: true}); err != nil {
			return // the reader is gone
		}
	default:
		st := h.report(ctx, "GET /api/deployments/{name}/logs", err)
		if out.began() {
			out.fail(st)
			return
		}
		writeError(w, st.Err())
	}
}

func engineLogFromHTTP(r *http.Request) (*orchionv1.ReadDeploymentLogsRequest, error) {
	values := r.URL.Query()
	if err := checkParameters(values, []string{"replicaId", "follow", "tail"}); err != nil {
		return nil, err
	}
	req := &orchionv1.ReadDeploymentLogsRequest{Name: r.PathValue("name"), ReplicaId: values.Get("replicaId")}
	if text := values.Get("follow"); text != "" {
		follow, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fault.BadField("follow", "is %q; allowed are true, false", clip(text))
		}
		req.Follow = follow
	}
	var err error
	req.Tail, err = numberFromQuery(values, "tail")
	return req, err
}
