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

// looksPerFile is how often, while an engine with a single file fills it, it is looked
// whether it has begun the log anew.
const looksPerFile = 8

// maxFollowedLine is how much of one line is read while the log is followed.
const maxFollowedLine = 1 << 20

// errLongLine ends the following of a log with a very long line. All its pieces have one
// time, so nothing shows when an engine passes over some (Podman 4.3) or gives some twice
// (Docker 20.10, when the line fills a file); read without following they are whole.
var errLongLine = errors.New("a line of the log is too long to be followed")

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
	begun  *driver.LogEntry // the first entry of the last reading
	asked  bool             // whether the engine keeps a log in a single file
	single bool             // it does
	exact  bool             // the last reading missed nothing that was not told
	// readWhole is the last entry that was read without following.
	readWhole int64
	whole     bool // the log was read to its end
	failed    int  // readings in a row that the engine refused
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
	c, inspectErr := l.a.engine.Inspect(ctx, l.containerID)
	if inspectErr != nil || c.State == driver.StateRunning {
		return false
	}
	l.failed++
	return l.failed >= maxUnreadable
}

func (l *logPush) readContainer(ctx context.Context, emit func(session.Line) error) error {
	first := true
	pass := func(follow bool) error {
		if !first {
			if err := emit(session.Line{Again: true}); err != nil {
				return err
			}
		}
		first = false
		return l.readOnce(ctx, follow, emit)
	}
	for {
		err := pass(true)
		if errors.Is(err, errOvertaken) || errors.Is(err, driver.ErrOvertaken) {
			// What the engine still has is read again, and shows whether something is
			// missing.
			continue
		}
		if errors.Is(err, errLongLine) {
			err = pass(false)
		}
		if err != nil || l.exact {
			return err
		}
		// Engines end a log that is followed when they shut down, too. It is whole only
		// when it was read after the container had ended.
		c, err := l.a.engine.Inspect(ctx, l.containerID)
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

// readOnce reads the log from its beginning.
func (l *logPush) readOnce(ctx context.Context, follow bool, emit func(session.Line) error) error {
	l.tail = tail{} // of an earlier reading
	kept := l.a.w.cfg.LogBytes
	reading, looked, line := l.pace.begin(time.Now(), follow, kept), int64(0), int64(0)
	l.exact = false
	opts := driver.LogOptions{Follow: follow, Exact: func() { l.exact = true }}
	return l.a.engine.Logs(ctx, l.containerID, opts, func(e driver.LogEntry) error {
		if !l.exact && reading.overtaken(e.Time, time.Now(), len(e.Text)) {
			return errOvertaken
		}
		if e.Index == 1 {
			if begun := l.begun; begun != nil && !sameEntry(begun, &e) && l.oneFile(ctx) {
				if err := emit(session.Line{Anew: true}); err != nil {
					return err
				}
			}
			l.begun = &e
		}
		if looked += int64(len(e.Text)) + lineOverhead; follow && looked > kept/looksPerFile && l.oneFile(ctx) {
			looked = 0
			if err := l.lookAtBeginning(ctx); err != nil {
				return err
			}
		}
		if line += int64(len(e.Text)); !e.Partial {
			line = 0
		}
		if !follow {
			l.readWhole = e.Index
		} else if !l.exact && line > maxFollowedLine && e.Index > l.readWhole {
			return errLongLine
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

func sameEntry(a, b *driver.LogEntry) bool {
	return a.Time.Equal(b.Time) && a.Stream == b.Stream && a.Text == b.Text
}

// oneFile says whether the engine keeps a log in a single file. It throws all of that away
// at once then and begins the log anew, and who follows it sees neither that nor what was
// thrown away unread.
func (l *logPush) oneFile(ctx context.Context) bool {
	if !l.asked && l.a.engine == l.a.w.cfg.Processes {
		l.asked = true
	}
	if !l.asked {
		// An engine that does not answer does not give its log either.
		info, err := l.a.w.cfg.Driver.Info(ctx)
		l.asked, l.single = err == nil, err == nil && info.Name == driver.NamePodman
	}
	return l.single
}

// lookAtBeginning is errOvertaken when the log was begun anew since this reading began.
func (l *logPush) lookAtBeginning(ctx context.Context) error {
	seen := errors.New("the beginning was seen")
	err := l.a.engine.Logs(ctx, l.containerID, driver.LogOptions{}, func(e driver.LogEntry) error {
		if l.begun != nil && !sameEntry(l.begun, &e) {
			return errOvertaken
		}
		return seen
	})
	if errors.Is(err, seen) {
		return nil
	}
	return err
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
