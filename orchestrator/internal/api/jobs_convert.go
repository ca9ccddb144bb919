package api

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// The numbers of the domain's states are those of the wire; states_test.go
// holds them together.

func jobStateToProto(s job.State) orchionv1.JobState { return orchionv1.JobState(s) }

func attemptStateToProto(s job.AttemptState) orchionv1.AttemptState { return orchionv1.AttemptState(s) }

func jobToProto(j *job.Job) *orchionv1.Job {
	out := &orchionv1.Job{
		Id:             j.ID,
		Name:           j.Name,
		Labels:         j.Labels,
		Spec:           jobSpecToProto(&j.Spec),
		State:          jobStateToProto(j.State),
		Reason:         j.Reason,
		CreatedAt:      timeToProto(j.CreatedAt),
		StartedAt:      timeToProto(j.StartedAt),
		FinishedAt:     timeToProto(j.FinishedAt),
		IdempotencyKey: j.IdempotencyKey,
	}
	if j.Result != nil {
		out.Result = &orchionv1.JobResult{
			ExitCode: exitCodeToProto(j.Result.ExitCode), Output: j.Result.Output, Error: j.Result.Error,
		}
	}
	for _, a := range j.Attempts {
		out.Attempts = append(out.Attempts, &orchionv1.Attempt{
			Number:     int32(a.Number),
			NodeId:     a.NodeID,
			State:      attemptStateToProto(a.State),
			AssignedAt: timeToProto(a.AssignedAt),
			StartedAt:  timeToProto(a.StartedAt),
			FinishedAt: timeToProto(a.FinishedAt),
			ExitCode:   exitCodeToProto(a.ExitCode),
			Reason:     a.Reason,
		})
	}
	return out
}

func jobSpecToProto(s *job.Spec) *orchionv1.JobSpec {
	out := &orchionv1.JobSpec{
		Resources:   resourcesToProto(s.Resources),
		Constraints: s.Constraints,
		Priority:    int32(s.Priority),
		Queue:       s.QueueName(),
	}
	if s.Retry != (job.Retry{}) {
		out.Retry = &orchionv1.RetryPolicy{MaxAttempts: int32(s.Retry.MaxAttempts)}
		if s.Retry.InitialBackoff > 0 {
			out.Retry.InitialBackoff = durationpb.New(s.Retry.InitialBackoff)
		}
		if s.Retry.MaxBackoff > 0 {
			out.Retry.MaxBackoff = durationpb.New(s.Retry.MaxBackoff)
		}
	}
	if s.Timeout > 0 {
		out.Timeout = durationpb.New(s.Timeout)
	}
	if c := s.Container; c != nil {
		out.Kind = &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{
			Image: c.Image, Command: c.Command, Args: c.Args, Env: c.Env,
			PullPolicy: orchionv1.PullPolicy(c.PullPolicy + 1), Models: c.Models,
		}}
	}
	if c := s.Chat; c != nil {
		chat := &orchionv1.ChatSpec{Model: c.Model, MaxTokens: int32(c.MaxTokens), Temperature: c.Temperature}
		for _, m := range c.Messages {
			chat.Messages = append(chat.Messages, &orchionv1.ChatMessage{Role: m.Role, Content: m.Content})
		}
		out.Kind = &orchionv1.JobSpec_Chat{Chat: chat}
	}
	return out
}

func resourcesToProto(r job.Resources) *orchionv1.Resources {
	return &orchionv1.Resources{
		CpuMillis: r.CPUMillis, MemoryBytes: r.MemoryBytes, Gpus: int32(r.GPUs), GpuMemoryBytes: r.GPUMemoryBytes,
	}
}

func exitCodeToProto(code *int) *int32 {
	if code == nil {
		return nil
	}
	v := int32(*code)
	return &v
}

func exitCodeFromProto(code *int32) *int {
	if code == nil {
		return nil
	}
	v := int(*code)
	return &v
}

func logEntryToProto(e *job.LogEntry) *orchionv1.LogEntry {
	return &orchionv1.LogEntry{
		Stream:  streamName(e.Stream),
		Attempt: int32(e.Attempt),
		Time:    timeToProto(e.Time),
		Text:    e.Text,
		Line:    e.Line,
	}
}

const (
	stdoutName = "stdout"
	stderrName = "stderr"
)

func streamName(s job.Stream) string {
	if s == job.Stderr {
		return stderrName
	}
	return stdoutName
}
