package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// A batch of a log is sent when it has this many bytes of text, or is this old.
	batchBytes = 256 << 10
	batchAge   = 100 * time.Millisecond
	// maxLinesAhead is how many lines are read ahead of what is sent.
	maxLinesAhead = 64
	// entryOverhead is what an entry costs on the wire beside its text, about.
	entryOverhead = 48
)

// DefaultLogRate is how many bytes of one attempt's log are sent in a second at most, over
// some time: fast enough for people, and slow enough for the other jobs of a node whose
// one job prints without end.
const DefaultLogRate = 32 << 20

// LogSource reads an attempt's log from its beginning, hands every line to emit, and
// returns nil once the log has ended. It returns emit's error as it is. When it reads the
// log once more, it says so with Line.Again.
type LogSource func(ctx context.Context, emit func(Line) error) error

// Logs pushes the logs of attempts to the orchestrator.
type Logs struct {
	client orchionv1.NodeSessionClient
	reach  *Reach
	logger *slog.Logger
	rate   int
}

// NewLogs makes a Logs that speaks through client. Of each attempt it sends at most
// bytesPerSecond; 0: as much as goes.
func NewLogs(client orchionv1.NodeSessionClient, reach *Reach, bytesPerSecond int, logger *slog.Logger) *Logs {
	return &Logs{client: client, reach: reach, logger: logger, rate: bytesPerSecond}
}

// limiter bounds how fast one attempt's log is sent. What waited for a second may go at
// once.
func (l *Logs) limiter() *rate.Limiter {
	if l.rate <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(l.rate), max(l.rate, 2*batchBytes))
}

// Push sends an attempt's log as it grows, and returns nil when the orchestrator has said
// that it holds all of it; when that is so already, source is not read. It tries again for as long as ctx lives, because the source can
// always be read again from its beginning.
func (l *Logs) Push(ctx context.Context, ref *orchionv1.AttemptRef, source LogSource) error {
	wait := newBackOff(retryLimit)
	limiter := l.limiter()
	for {
		began := time.Now()
		err := l.pushOnce(ctx, ref, source, limiter)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.logger.Log(ctx, logLevel(err), "the log stream of an attempt broke, opening a new one",
			"job", ref.GetJobId(), "attempt", ref.GetAttempt(), "error", err)
		if time.Since(began) >= settled {
			wait.Reset()
		}
		if !pause(ctx, wait.NextBackOff(), l.reach.returned()) {
			return ctx.Err()
		}
	}
}

// logLevel keeps quiet about an orchestrator that is away: Reach tells that once.
func logLevel(err error) slog.Level {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.NotFound, codes.Canceled:
		return slog.LevelDebug
	default:
		return slog.LevelWarn
	}
}

type logStream interface {
	Send(*orchionv1.PushLogsRequest) error
	Recv() (*orchionv1.PushLogsResponse, error)
	CloseSend() error
}

// pushOnce sends the log over one stream.
func (l *Logs) pushOnce(ctx context.Context, ref *orchionv1.AttemptRef, source LogSource, limiter *rate.Limiter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The first of the group that fails ends the stream, and with it the others.
	group, ctx := errgroup.WithContext(ctx)
	stream, err := l.client.PushLogs(ctx)
	if err != nil {
		return err
	}
	open := &orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Open{Open: &orchionv1.OpenLog{Ref: ref}}}
	if err := stream.Send(open); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	held, err := stream.Recv()
	if err != nil {
		return unexpectedEnd(err)
	}
	if held.GetClosed() {
		return nil
	}
	n := newNumbering(ref.GetAttempt(), held)
	lines := make(chan Line, maxLinesAhead)
	group.Go(func() error {
		err := source(ctx, func(line Line) error {
			select {
			case lines <- line:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err == nil {
			// Only now: a closed channel closes the log at the orchestrator.
			close(lines)
		}
		return err
	})
	group.Go(func() error {
		err := sendLines(ctx, stream, limiter, n, lines)
		if errors.Is(err, io.EOF) {
			return nil // the stream has broken, and the receiver knows why
		}
		return err
	})
	group.Go(func() error { return receiveClosed(stream) })
	err = group.Wait()
	if errors.Is(err, errLogHeld) {
		return nil
	}
	return err
}

// errLogHeld ends the stream of a log that the orchestrator holds whole.
var errLogHeld = errors.New("the orchestrator holds the whole log")

// receiveClosed reads acknowledgements until the orchestrator says that the log is closed.
func receiveClosed(stream logStream) error {
	for {
		answer, err := stream.Recv()
		if err != nil {
			return unexpectedEnd(err)
		}
		if answer.GetClosed() {
			return errLogHeld
		}
	}
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return status.Error(codes.Unavailable, "the orchestrator ended the log stream early")
	}
	return err
}

// sendLines sends the lines in batches, and half-closes the stream after the last one.
func sendLines(ctx context.Context, stream logStream, limiter *rate.Limiter, n *numbering, lines <-chan Line) error {
	b := batch{stream: stream, limiter: limiter, age: time.NewTimer(batchAge)}
	b.age.Stop()
	defer b.age.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.age.C:
			err = b.flush(ctx)
		case line, more := <-lines:
			if !more {
				if err := errors.Join(b.add(ctx, n.finish()), b.flush(ctx)); err != nil {
					return err
				}
				return stream.CloseSend()
			}
			err = b.add(ctx, n.entries(line))
		}
		if err != nil {
			return err
		}
	}
}

// batch gathers entries until they are many or old.
type batch struct {
	stream  logStream
	limiter *rate.Limiter
	age     *time.Timer // fires when the oldest entry has waited for batchAge
	entries []*orchionv1.LogEntry
	size    int
}

func (b *batch) add(ctx context.Context, entries []*orchionv1.LogEntry) error {
	for _, e := range entries {
		if len(b.entries) == 0 {
			b.age.Reset(batchAge)
		}
		b.entries = append(b.entries, e)
		b.size += len(e.GetText()) + entryOverhead
		if b.size >= batchBytes {
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) flush(ctx context.Context) error {
	if len(b.entries) == 0 {
		return nil
	}
	// One batch is never more than the limiter's burst.
	if err := b.limiter.WaitN(ctx, b.size); err != nil {
		return err
	}
	m := &orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Batch{Batch: &orchionv1.LogBatch{Entries: b.entries}}}
	b.entries, b.size = nil, 0
	return b.stream.Send(m)
}
