package api

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// logEventPeriod is how often the growth of one log is told at most.
const logEventPeriod = 250 * time.Millisecond

type pushStream = grpc.BidiStreamingServer[orchionv1.PushLogsRequest, orchionv1.PushLogsResponse]

// PushLogs takes the log of one attempt from the node that runs it.
func (s *sessions) PushLogs(stream pushStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	in := receive(ctx, stream.Recv)
	ref, err := openAttempt(ctx, s.cfg, in)
	if err != nil {
		return err
	}
	writer, err := s.cfg.Logs.Open(ctx, ref)
	if err != nil {
		return err
	}
	progress := newProgress(s.cfg.Events, ref, writer)
	defer progress.stop()
	err = s.takeLog(ctx, stream, in, ref, writer, progress)
	if closing := writer.Close(); err == nil {
		err = closing
	}
	return err
}

func (s *sessions) takeLog(ctx context.Context, stream pushStream, in *inbox[*orchionv1.PushLogsRequest],
	ref job.Ref, writer store.LogWriter, progress *progress,
) error {
	begin, err := whereToBegin(writer)
	if err != nil {
		return err
	}
	if err := stream.Send(begin); err != nil {
		return err
	}
	for {
		select {
		case m, ok := <-in.messages:
			if !ok {
				if !errors.Is(in.err, io.EOF) {
					return in.err
				}
				// The node has said all: only now may it forget its copy.
				if err := writer.Complete(); err != nil {
					return err
				}
				return stream.Send(heldLines(writer))
			}
			if m.GetBatch() == nil {
				return fault.BadField("batch", "must be what every message after the first holds")
			}
			entries, err := logEntriesFromProto(ref, m.GetBatch())
			if err != nil {
				return err
			}
			if err := writer.Append(entries); err != nil {
				return err
			}
			progress.grown()
			if err := stream.Send(heldLines(writer)); err != nil {
				return err
			}
		case <-progress.due():
			progress.tell()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// whereToBegin tells the node where it goes on.
func whereToBegin(w store.LogWriter) (*orchionv1.PushLogsResponse, error) {
	m := heldLines(w)
	if m.GetClosed() || m.GetStdoutLines()+m.GetStderrLines() == 0 {
		return m, nil
	}
	resume, err := w.Resume()
	if err != nil {
		return nil, err
	}
	if resume.First.Line > 0 && resume.Last.Line > 0 {
		m.First, m.Last = logEntryToProto(&resume.First), logEntryToProto(&resume.Last)
		m.LastSameTime = int32(resume.Same)
	}
	return m, nil
}

func heldLines(w store.LogWriter) *orchionv1.PushLogsResponse {
	stdout, stderr := w.Held()
	return &orchionv1.PushLogsResponse{StdoutLines: stdout, StderrLines: stderr, Closed: w.Completed()}
}

// progress publishes that a log has grown, at once and then at most once in
// logEventPeriod. It is for one goroutine.
type progress struct {
	bus     *events.Bus
	ref     job.Ref
	writer  store.LogWriter
	timer   *time.Timer
	resting bool // told less than a period ago
	untold  bool // has grown since
}

func newProgress(bus *events.Bus, ref job.Ref, writer store.LogWriter) *progress {
	timer := time.NewTimer(logEventPeriod)
	timer.Stop()
	return &progress{bus: bus, ref: ref, writer: writer, timer: timer}
}

// due receives when the rest after the last event is over: then call tell.
func (p *progress) due() <-chan time.Time { return p.timer.C }

func (p *progress) grown() {
	p.untold = true
	if !p.resting {
		p.tell()
	}
}

func (p *progress) tell() {
	p.resting = false
	if !p.untold {
		return
	}
	p.untold = false
	p.resting = true
	p.timer.Reset(logEventPeriod)
	stdout, stderr := p.writer.Held()
	p.bus.Publish(events.Event{Type: events.Updated, Log: &events.LogProgress{
		JobID: p.ref.JobID, Attempt: p.ref.Attempt, StdoutLines: stdout, StderrLines: stderr,
	}})
}

// stop tells what is not told yet.
func (p *progress) stop() {
	p.timer.Stop()
	p.tell()
	p.timer.Stop()
}
