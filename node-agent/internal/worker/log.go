package worker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/session"
	"github.com/orchion/orchion/shared/plantedbug"
)

// maxUnreadable is how many readings of an ended container's log the engine may refuse in a
// row, for another reason than being out of reach, before what was read is all there is.
const maxUnreadable = 10

// maxOutput is how much of the end of a container's standard output becomes the output of
// its job, in bytes.
const maxOutput = 4 << 10

// logPush pushes an attempt's log and keeps the end of its standard output.
type logPush struct {
	a           *attempt
	containerID string
	done        chan struct{} // closed when the push has returned
	// Owned by the push until done is closed.
	tail   tail
	pace   pace
	whole  bool // the log was read to its end
	failed int  // readings in a row that the engine refused
}

// pushLog begins to push the log of the attempt's container. It ends with the hold at the
// latest.
func (a *attempt) pushLog() *logPush {
	l := &logPush{a: a, containerID: a.containerID, done: make(chan struct{})}
	a.w.wg.Go(func() {
		defer close(l.done)
		err := a.w.cfg.Logs.Push(a.hold, a.key.proto(), l.read)
		if err != nil && a.hold.Err() == nil {
			a.w.cfg.Logger.Error("an attempt's log could not be pushed", "job", a.key.jobID, "attempt", a.key.attempt, "error", err)
		}
	})
	return l
}

// wait waits until the orchestrator holds the whole log and gives the end of the standard
// output.
func (l *logPush) wait(hold context.Context) string {
	<-l.done
	if hold.Err() != nil {
		return ""
	}
	if !l.whole {
		// The log was pushed by an earlier run of the agent.
		if err := l.read(hold, func(session.Line) error { return nil }); err != nil {
			l.a.w.cfg.Logger.Warn("the output of an attempt could not be read", "job", l.a.key.jobID, "attempt", l.a.key.attempt, "error", err)
		}
	}
	return l.tail.String()
}

// read is the [session.LogSource] of the container's log.
func (l *logPush) read(ctx context.Context, emit func(session.Line) error) error {
	err := l.readContainer(ctx, emit)
	if driver.CodeOf(err) == driver.CodeNotFound {
		// Somebody removed the container: there will never be more of its log.
		err = nil
	}
	if err != nil && ctx.Err() == nil && l.unreadable(ctx, err) {
		l.a.w.cfg.Logger.Error("giving up on the rest of an attempt's log, which the container engine cannot read",
			"job", l.a.key.jobID, "attempt", l.a.key.attempt, "error", err)
		err = nil
	}
	l.whole = err == nil
	return err
}

// unreadable says whether the log will never be read any further, such as a damaged file of
// an engine that was killed: the attempt would otherwise never end.
func (l *logPush) unreadable(ctx context.Context, err error) bool {
	if temporary(err) {
		return false
	}
	c, inspectErr := l.a.w.cfg.Driver.Inspect(ctx, l.containerID)
	if inspectErr != nil || c.State == driver.StateRunning {
		return false
	}
	l.failed++
	return l.failed >= maxUnreadable
}

func (l *logPush) readContainer(ctx context.Context, emit func(session.Line) error) error {
	engine, id := l.a.w.cfg.Driver, l.containerID
	first := true
	pass := func(follow bool) error {
		if !first {
			if err := emit(session.Line{Again: true}); err != nil {
				return err
			}
		}
		first = false
		l.tail = tail{} // of an earlier reading
		began := l.pace.begin(time.Now(), follow)
		return engine.Logs(ctx, id, driver.LogOptions{Follow: follow}, func(e driver.LogEntry) error {
			if began.overtaken(e.Time, time.Now()) {
				return errOvertaken
			}
			if e.Stream == driver.Stdout {
				l.tail.add(e.Text, e.Partial)
			}
			if plantedbug.On(plantedbug.SkipsLines) && e.Index%50 == 0 {
				return nil
			}
			return emit(session.Line{Stderr: e.Stream == driver.Stderr, Time: e.Time, Text: e.Text, Partial: e.Partial})
		})
	}
	for {
		err := pass(true)
		if errors.Is(err, errOvertaken) {
			// What the engine still has is read again, and shows whether something is
			// missing.
			continue
		}
		if err != nil {
			return err
		}
		// Engines end a log that is followed when they shut down, too. It is whole only
		// when it was read after the container had ended.
		c, err := engine.Inspect(ctx, id)
		if err != nil {
			return err
		}
		if c.State != driver.StateRunning {
			return pass(false)
		}
		if !pause(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// tail keeps the last maxOutput bytes of what is added.
type tail struct{ text []byte }

func (t *tail) add(text string, partial bool) {
	t.text = append(t.text, text...)
	if !partial {
		t.text = append(t.text, '\n')
	}
	// Cut now and then, not with every line.
	if len(t.text) > 16*maxOutput {
		t.text = append(t.text[:0], t.text[len(t.text)-maxOutput-1:]...)
	}
}

// String gives the text without the newline at its end, whole characters only.
func (t *tail) String() string {
	text := strings.TrimSuffix(string(t.text), "\n")
	if len(text) > maxOutput {
		text = text[len(text)-maxOutput:]
	}
	return strings.ToValidUTF8(text, "")
}
