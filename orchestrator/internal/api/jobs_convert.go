package api

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// The numbers of the domain's states are those of the wire; states_test.go
// holds them together.

func jobStateToProto(s job.State) orchionv1.JobState { return orchionv1.JobState(s) }

func failureToProto(f job.Failure) orchionv1.FailureClass { return orchionv1.FailureClass(f) }

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
		ArrayId:        j.ArrayID,
		ArrayIndex:     int32(j.ArrayIndex),
		ArrayCount:     int32(j.ArrayCount),
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
			Failure:    failureToProto(a.Failure),
			Gpus:       a.GPUs,
		})
	}
	return out
}

func jobSpecToProto(s *job.Spec) *orchionv1.JobSpec {
	out := &orchionv1.JobSpec{
		Resources:   resourcesToProto(s.Resources),
		Constraints: s.Constraints,
		Tolerations: s.Tolerations,
		Placement:   orchionv1.Placement(s.Placement),
		Affinities:  affinitiesToProto(s.Affinities),
		AvoidJobs:   s.AvoidJobs,
		Priority:    int32(s.Priority),
		Preemptible: s.Preemptible,
		Queue:       s.QueueName(),
		StartAfter:  timeToProto(s.StartAfter),
	}
	if !s.Retry.IsZero() {
		out.Retry = retryToProto(s.Retry)
	}
	if s.Timeout > 0 {
		out.Timeout = durationpb.New(s.Timeout)
	}
	for _, d := range s.After {
		out.After = append(out.After, &orchionv1.JobDependency{JobId: d.ID, On: orchionv1.JobCondition(d.On + 1)})
	}
	if s.QueueTimeout > 0 {
		out.QueueTimeout = durationpb.New(s.QueueTimeout)
	}
	if s.StartTimeout > 0 {
		out.StartTimeout = durationpb.New(s.StartTimeout)
	}
	if s.Container != nil {
		out.Kind = &orchionv1.JobSpec_Container{Container: containerToProto(s.Container)}
	}
	if s.Process != nil {
		out.Kind = &orchionv1.JobSpec_Process{Process: processToProto(s.Process)}
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

func containerToProto(c *job.Container) *orchionv1.ContainerSpec {
	out := &orchionv1.ContainerSpec{
		Image: c.Image, Command: c.Command, Args: c.Args, Env: c.Env,
		PullPolicy: orchionv1.PullPolicy(c.PullPolicy + 1), Models: c.Models,
		WorkingDir: c.WorkingDir, User: c.User, ShmBytes: c.ShmBytes,
		RegistryCredentials: c.RegistryCredentials,
	}
	if c.StopGrace > 0 {
		out.StopGrace = durationpb.New(c.StopGrace)
	}
	for _, m := range c.Tmpfs {
		out.Tmpfs = append(out.Tmpfs, &orchionv1.TmpfsMount{Path: m.Path, SizeBytes: m.SizeBytes})
	}
	for _, v := range c.Volumes {
		out.Volumes = append(out.Volumes, &orchionv1.VolumeMount{Name: v.Name, Path: v.Path, ReadOnly: v.ReadOnly})
	}
	for _, a := range c.Artifacts {
		out.Artifacts = append(out.Artifacts, &orchionv1.ArtifactSpec{Path: a.Path, Name: a.Name, Optional: a.Optional})
	}
	for _, f := range c.Files {
		out.Files = append(out.Files, &orchionv1.InputFile{Path: f.Path, Content: f.Content, Mode: uint32(f.Mode), SizeBytes: f.Size, Blob: string(f.Blob)})
	}
	return out
}

func retryToProto(r job.Retry) *orchionv1.RetryPolicy {
	out := &orchionv1.RetryPolicy{MaxAttempts: int32(r.MaxAttempts)}
	if r.InitialBackoff > 0 {
		out.InitialBackoff = durationpb.New(r.InitialBackoff)
	}
	if r.MaxBackoff > 0 {
		out.MaxBackoff = durationpb.New(r.MaxBackoff)
	}
	for _, f := range r.RetryOn {
		out.RetryOn = append(out.RetryOn, failureToProto(f))
	}
	for _, code := range r.NoRetryExitCodes {
		out.NoRetryExitCodes = append(out.NoRetryExitCodes, int32(code))
	}
	return out
}

func resourcesToProto(r job.Resources) *orchionv1.Resources {
	return &orchionv1.Resources{
		CpuMillis: r.CPUMillis, MemoryBytes: r.MemoryBytes, Gpus: int32(r.GPUs), GpuMemoryBytes: r.GPUMemoryBytes,
		GpuVendor: r.GPUVendor, DiskBytes: r.DiskBytes,
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
		Note:    e.Note,
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
