package api

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// jobs serves orchion.v1.Jobs.
type jobs struct {
	orchionv1.UnimplementedJobsServer
	cfg  *Config
	logs *logReader
}

const (
	// listChunk is how many jobs are read from the store at once.
	listChunk = 100
	// maxListBytes is about how large a page becomes: it has to fit into a
	// message, of which gRPC's clients take 4 MiB, whatever is in the jobs.
	maxListBytes = 3 << 20
)

func checkJobID(field, id string) error {
	if id == "" {
		return fault.BadField(field, "must not be empty")
	}
	if !job.ValidID(id) {
		return fault.BadField(field, "is %q, which is not the id of a job", clip(id))
	}
	return nil
}

func (s *jobs) SubmitJob(ctx context.Context, req *orchionv1.SubmitJobRequest) (*orchionv1.Job, error) {
	submission, err := submissionFromProto(req)
	if err != nil {
		return nil, err
	}
	if err := checkArray(req); err != nil {
		return nil, err
	}
	if err := useBlobs(s.cfg.Blobs, &submission.Spec); err != nil {
		return nil, err
	}
	if req.Count != nil {
		return answerJob(s.cfg.Jobs.SubmitArray(ctx, submission, int(req.GetCount())))
	}
	return answerJob(s.cfg.Jobs.Submit(ctx, submission))
}

func (s *jobs) ListJobs(ctx context.Context, req *orchionv1.ListJobsRequest) (*orchionv1.ListJobsResponse, error) {
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	if len(req.GetPageToken()) > maxPageToken {
		return nil, fault.BadField("pageToken", "is not a token that this orchestrator gave; take nextPageToken of the last answer")
	}
	values, all, err := stateFilter("state", req.GetState(), "JOB_STATE_", orchionv1.JobState_value)
	if err != nil {
		return nil, err
	}
	if req.GetNodeId() != "" {
		if err := checkID("nodeId", req.GetNodeId()); err != nil {
			return nil, err
		}
	}
	selector, err := checkSelector("label", req.GetLabelSelector())
	if err != nil {
		return nil, err
	}
	if req.GetArrayId() != "" {
		if err := checkArrayID("arrayId", req.GetArrayId()); err != nil {
			return nil, err
		}
	}
	if req.GetQueue() != "" {
		if err := job.CheckQueueName("queue", req.GetQueue()); err != nil {
			return nil, err
		}
	}
	if err := checkText("name", req.GetName(), maxJobName); err != nil {
		return nil, err
	}
	filter := store.JobFilter{
		NodeID: req.GetNodeId(), Labels: selector, ArrayID: req.GetArrayId(),
		Queue: req.GetQueue(), Name: req.GetName(), After: req.GetPageToken(),
	}
	if !all {
		for _, v := range values {
			filter.States = append(filter.States, job.State(v))
		}
	}
	return s.page(ctx, filter, limit)
}

// page reads a page of jobs chunk by chunk, until it is full or large.
func (s *jobs) page(ctx context.Context, filter store.JobFilter, limit int) (*orchionv1.ListJobsResponse, error) {
	out := &orchionv1.ListJobsResponse{}
	for size := 0; ; {
		filter.Limit = min(limit-len(out.Jobs), listChunk)
		chunk, err := s.cfg.JobStore.ListJobs(ctx, filter)
		if err != nil {
			return nil, err
		}
		s.cfg.Jobs.Annotate(ctx, chunk.Jobs)
		for i := range chunk.Jobs {
			j := jobToProto(chunk.Jobs[i].WithoutContents())
			if size += proto.Size(j); size > maxListBytes && len(out.Jobs) > 0 {
				return out, nil
			}
			out.Jobs = append(out.Jobs, j)
			out.NextPageToken = store.CursorOf(chunk.Jobs[i]).Token()
		}
		if out.NextPageToken = chunk.Next; chunk.Next == "" || len(out.Jobs) == limit {
			return out, nil
		}
		filter.After = chunk.Next
	}
}

func (s *jobs) GetJob(ctx context.Context, req *orchionv1.GetJobRequest) (*orchionv1.Job, error) {
	if err := checkJobID("id", req.GetId()); err != nil {
		return nil, err
	}
	j, err := s.cfg.JobStore.GetJob(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	read := []job.Job{j}
	s.cfg.Jobs.Annotate(ctx, read)
	return jobToProto(&read[0]), nil
}

func (s *jobs) CancelJob(ctx context.Context, req *orchionv1.CancelJobRequest) (*orchionv1.Job, error) {
	if err := checkJobID("id", req.GetId()); err != nil {
		return nil, err
	}
	if err := checkProse("reason", req.GetReason(), maxReason); err != nil {
		return nil, err
	}
	j, err := s.cfg.Jobs.Cancel(ctx, req.GetId(), req.GetReason())
	return answerJob(j, err)
}

func checkArrayID(field, id string) error {
	if !job.ValidID(id) || !job.IsArrayID(id) {
		return fault.BadField(field, "is %q, which is not the id of an array, such as arrayId of a job has it", clip(id))
	}
	return nil
}

func (s *jobs) CancelArray(ctx context.Context, req *orchionv1.CancelArrayRequest) (*orchionv1.CancelArrayResponse, error) {
	if err := checkArrayID("id", req.GetId()); err != nil {
		return nil, err
	}
	if err := checkProse("reason", req.GetReason(), maxReason); err != nil {
		return nil, err
	}
	done, err := s.cfg.Jobs.CancelArray(ctx, req.GetId(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &orchionv1.CancelArrayResponse{
		ArrayId: req.GetId(), Cancelled: int32(done.Cancelled), Stopping: int32(done.Stopping),
	}, nil
}

func (s *jobs) RetryJob(ctx context.Context, req *orchionv1.RetryJobRequest) (*orchionv1.Job, error) {
	if err := checkJobID("id", req.GetId()); err != nil {
		return nil, err
	}
	j, err := s.cfg.Jobs.Retry(ctx, req.GetId())
	return answerJob(j, err)
}

func (s *jobs) ExplainJob(ctx context.Context, req *orchionv1.ExplainJobRequest) (*orchionv1.ExplainJobResponse, error) {
	if err := checkJobID("id", req.GetId()); err != nil {
		return nil, err
	}
	summary, fits, err := s.cfg.Jobs.Explain(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	out := &orchionv1.ExplainJobResponse{JobId: req.GetId(), Summary: summary}
	for _, f := range fits {
		fit := &orchionv1.NodeFit{
			NodeId: f.NodeID, Hostname: f.Hostname, Fits: f.Fits, Reasons: f.Reasons, Score: f.Score,
		}
		for _, part := range f.ScoreParts {
			fit.ScoreParts = append(fit.ScoreParts, &orchionv1.ScorePart{Name: part.Name, Points: part.Points})
		}
		out.Nodes = append(out.Nodes, fit)
	}
	return out, nil
}

func (s *jobs) ReadJobLogs(req *orchionv1.ReadJobLogsRequest, stream grpc.ServerStreamingServer[orchionv1.LogEntry]) error {
	query, err := logQueryFromProto(req)
	if err != nil {
		return err
	}
	return s.logs.read(stream.Context(), query, func(batch logBatch) error {
		for i := range batch.entries {
			if err := stream.Send(logEntryToProto(&batch.entries[i])); err != nil {
				return err
			}
		}
		return nil
	})
}

func answerJob(j job.Job, err error) (*orchionv1.Job, error) {
	if err != nil {
		return nil, err
	}
	return jobToProto(&j), nil
}
