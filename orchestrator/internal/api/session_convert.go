package api

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/store"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

// Limits on what a node says on its streams.
const (
	maxNodeAttempts = 10_000
	maxNodeReplicas = 1_000
	maxStatusReason = 4 << 10
	// maxOutput bounds the answer of a chat; longer ones are cut.
	maxOutput       = 256 << 10
	maxBatchEntries = 65_536
	maxBatchBytes   = 1 << 20
)

func refFromProto(field string, r *orchionv1.AttemptRef) (job.Ref, error) {
	if err := checkJobID(field+".jobId", r.GetJobId()); err != nil {
		return job.Ref{}, err
	}
	if err := checkRange(field+".attempt", r.GetAttempt(), 1, maxInt32); err != nil {
		return job.Ref{}, err
	}
	return job.Ref{JobID: r.GetJobId(), Attempt: int(r.GetAttempt())}, nil
}

func refToProto(r job.Ref) *orchionv1.AttemptRef {
	return &orchionv1.AttemptRef{JobId: r.JobID, Attempt: int32(r.Attempt)}
}

func refsFromProto(field string, list []*orchionv1.AttemptRef) ([]job.Ref, error) {
	if err := checkCount(field, len(list), maxNodeAttempts); err != nil {
		return nil, err
	}
	refs := make([]job.Ref, 0, len(list))
	for i, r := range list {
		ref, err := refFromProto(indexed(field, i), r)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

func refsToProto(refs []job.Ref) []*orchionv1.AttemptRef {
	out := make([]*orchionv1.AttemptRef, 0, len(refs))
	for _, r := range refs {
		out = append(out, refToProto(r))
	}
	return out
}

// attemptStatusFromProto checks and reads what a node observes of an attempt.
// Text that is too long is cut: refusing it would keep a job from ending.
func attemptStatusFromProto(field string, s *orchionv1.AttemptStatus) (dispatch.AttemptStatus, error) {
	var none dispatch.AttemptStatus
	ref, err := refFromProto(field+".ref", s.GetRef())
	if err != nil {
		return none, err
	}
	switch s.GetState() {
	case orchionv1.AttemptState_ATTEMPT_STATE_ASSIGNED, orchionv1.AttemptState_ATTEMPT_STATE_RUNNING,
		orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED, orchionv1.AttemptState_ATTEMPT_STATE_FAILED,
		orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED:
	default:
		return none, fault.BadField(field+".state", "is %v; a node may say any but LOST of %s",
			s.GetState(), allowed(orchionv1.AttemptState_value))
	}
	return dispatch.AttemptStatus{
		Ref:        ref,
		State:      job.AttemptState(s.GetState()),
		StartedAt:  timeFromProto(s.GetStartedAt()),
		FinishedAt: timeFromProto(s.GetFinishedAt()),
		ExitCode:   exitCodeFromProto(s.ExitCode),
		Reason:     cut(s.GetReason(), maxStatusReason),
		Output:     cut(s.GetOutput(), maxOutput),
		Failure:    failureFromNode(s.GetFailure()),
	}, nil
}

// failureFromNode reads the class of a failure. One that this orchestrator does
// not know, or that is not a node's to say, is taken as not said: refusing it
// would keep a job from ending.
func failureFromNode(class orchionv1.FailureClass) job.Failure {
	if _, known := orchionv1.FailureClass_name[int32(class)]; !known || class == orchionv1.FailureClass_FAILURE_CLASS_NODE_LOST {
		return 0
	}
	return job.Failure(class)
}

// cut shortens text to at most limit bytes, at the end of a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}

// hello is what a node holds when it connects.
type hello struct {
	attempts []dispatch.AttemptStatus
	replicas []model.ReplicaStatus
}

func helloFromProto(req *orchionv1.ConnectRequest) (hello, error) {
	var none, h hello
	m := req.GetHello()
	if m == nil {
		return none, fault.BadField("hello", "must be the first message of the stream")
	}
	if err := checkCount("hello.attempts", len(m.GetAttempts()), maxNodeAttempts); err != nil {
		return none, err
	}
	if err := checkCount("hello.replicas", len(m.GetReplicas()), maxNodeReplicas); err != nil {
		return none, err
	}
	for i, s := range m.GetAttempts() {
		status, err := attemptStatusFromProto(indexed("hello.attempts", i), s)
		if err != nil {
			return none, err
		}
		h.attempts = append(h.attempts, status)
	}
	for i, s := range m.GetReplicas() {
		status, err := replicaStatusFromProto(indexed("hello.replicas", i), s)
		if err != nil {
			return none, err
		}
		h.replicas = append(h.replicas, status)
	}
	return h, nil
}

// messageToProto translates what the orchestrator says to a node.
func messageToProto(m dispatch.Message) (*orchionv1.ConnectResponse, error) {
	out := &orchionv1.ConnectResponse{}
	switch m := m.(type) {
	case dispatch.AssignmentSet:
		set := &orchionv1.AssignmentSet{HeartbeatInterval: durationpb.New(m.HeartbeatInterval)}
		for _, a := range m.Jobs {
			set.Jobs = append(set.Jobs, jobAssignmentToProto(a))
		}
		for _, a := range m.Replicas {
			set.Replicas = append(set.Replicas, replicaAssignmentToProto(a))
		}
		out.Message = &orchionv1.ConnectResponse_Assignments{Assignments: set}
	case dispatch.JobAssignment:
		out.Message = &orchionv1.ConnectResponse_AssignJob{AssignJob: jobAssignmentToProto(m)}
	case dispatch.CancelAttempt:
		out.Message = &orchionv1.ConnectResponse_CancelAttempt{CancelAttempt: &orchionv1.CancelAttempt{
			Ref: refToProto(m.Ref), Grace: durationpb.New(m.Grace), Reason: m.Reason,
		}}
	case dispatch.ReplicaAssignment:
		out.Message = &orchionv1.ConnectResponse_AssignReplica{AssignReplica: replicaAssignmentToProto(m)}
	case dispatch.RemoveReplica:
		out.Message = &orchionv1.ConnectResponse_RemoveReplica{RemoveReplica: &orchionv1.RemoveReplica{ReplicaId: m.ReplicaID}}
	case dispatch.LeasesRenewed:
		out.Message = &orchionv1.ConnectResponse_LeasesRenewed{LeasesRenewed: &orchionv1.LeasesRenewed{
			Sequence: m.Sequence, LeaseTtl: durationpb.New(m.TTL),
			Renewed: refsToProto(m.Renewed), Lost: refsToProto(m.Lost),
		}}
	case dispatch.AttemptAcknowledged:
		out.Message = &orchionv1.ConnectResponse_AttemptAcknowledged{AttemptAcknowledged: &orchionv1.AttemptAcknowledged{
			Ref: refToProto(m.Ref), Accepted: m.Accepted,
		}}
	case dispatch.OpenTunnel:
		open := &orchionv1.OpenTunnel{TunnelId: m.TunnelID}
		if m.Place != (loopback.Place{}) {
			open.Place = &orchionv1.Place{BootId: m.Place.BootID, NetworkNamespace: m.Place.NetworkNamespace}
		}
		switch {
		case m.ModelFiles:
			open.Target = &orchionv1.OpenTunnel_ModelFiles{ModelFiles: true}
		case m.Log != nil:
			open.Target = &orchionv1.OpenTunnel_EngineLog{EngineLog: &orchionv1.EngineLog{
				ReplicaId: m.Log.ReplicaID, Tail: int32(m.Log.Tail), Follow: m.Log.Follow,
			}}
		case m.ReplicaID != "":
			open.Target = &orchionv1.OpenTunnel_ReplicaId{ReplicaId: m.ReplicaID}
		default:
			open.Target = &orchionv1.OpenTunnel_EngineEndpoint{EngineEndpoint: m.EngineEndpoint}
		}
		out.Message = &orchionv1.ConnectResponse_OpenTunnel{OpenTunnel: open}
	default:
		return nil, fmt.Errorf("the stream knows no message %T", m)
	}
	return out, nil
}

func jobAssignmentToProto(a dispatch.JobAssignment) *orchionv1.JobAssignment {
	return &orchionv1.JobAssignment{
		Ref: refToProto(a.Ref), Name: a.Name, Spec: jobSpecToProto(&a.Spec), LeaseTtl: durationpb.New(a.LeaseTTL),
		ArrayId: a.Array.ID, ArrayIndex: int32(a.Array.Index), ArrayCount: int32(a.Array.Count),
		Gpus: a.GPUs,
	}
}

func replicaAssignmentToProto(a dispatch.ReplicaAssignment) *orchionv1.ReplicaAssignment {
	return &orchionv1.ReplicaAssignment{
		ReplicaId: a.ReplicaID, Deployment: a.Deployment, Spec: deploymentSpecToProto(&a.Spec),
		Gpus: a.GPUs,
	}
}

// logEntriesFromProto checks and reads a batch of an attempt's log.
func logEntriesFromProto(ref job.Ref, batch *orchionv1.LogBatch) ([]job.LogEntry, error) {
	if err := checkCount("batch.entries", len(batch.GetEntries()), maxBatchEntries); err != nil {
		return nil, err
	}
	entries := make([]job.LogEntry, 0, len(batch.GetEntries()))
	total := 0
	for i, e := range batch.GetEntries() {
		at := indexed("batch.entries", i)
		entry := job.LogEntry{Attempt: ref.Attempt, Line: e.GetLine(), Time: timeFromProto(e.GetTime()), Text: e.GetText(), Note: e.GetNote()}
		switch e.GetStream() {
		case stdoutName:
			entry.Stream = job.Stdout
		case stderrName:
			entry.Stream = job.Stderr
		default:
			return nil, fault.BadField(at+".stream", "is %q; allowed are %s, %s", clip(e.GetStream()), stdoutName, stderrName)
		}
		if e.GetLine() < 1 {
			return nil, fault.BadField(at+".line", "is %d; lines count from 1", e.GetLine())
		}
		if len(e.GetText()) > store.MaxLogText {
			return nil, fault.BadField(at+".text", "has %d bytes; at most %d are allowed", len(e.GetText()), store.MaxLogText)
		}
		total += len(e.GetText())
		entries = append(entries, entry)
	}
	if total > maxBatchBytes {
		return nil, fault.BadField("batch.entries", "have %d bytes of text together; at most %d are allowed", total, maxBatchBytes)
	}
	return entries, nil
}

// maxImages bounds what is kept of each node.
const maxImages = 1024

func imagesFromProto(field string, names []string) ([]string, error) {
	if err := checkCount(field, len(names), maxImages); err != nil {
		return nil, err
	}
	for i, name := range names {
		if err := checkRequired(indexed(field, i), name, maxImage); err != nil {
			return nil, err
		}
	}
	return names, nil
}
