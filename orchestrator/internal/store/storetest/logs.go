package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// LogImplementation is how the suite makes stores of logs.
type LogImplementation struct {
	// Open makes an empty store. The suite closes it.
	Open func(t *testing.T) store.LogStore
	// Reopen closes a store and opens it again on what it kept.
	Reopen func(t *testing.T, s store.LogStore) store.LogStore
}

// RunLogs runs the suite of stores of logs.
func RunLogs(t *testing.T, im LogImplementation) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, LogImplementation)
	}{
		{"append and read", testLogAppend},
		{"sending twice stores once", testLogTwice},
		{"texts", testLogTexts},
		{"fencing", testLogFencing},
		{"complete", testLogComplete},
		{"attempts", testLogAttempts},
		{"tail", testLogTail},
		{"changed", testLogChanged},
		{"follow", testLogFollow},
		{"refusals", testLogRefusals},
		{"late lines", testLogLate},
		{"delete", testLogDelete},
		{"reopen", testLogReopen},
		{"close", testLogClose},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, im) })
	}
}

func openLogs(t *testing.T, im LogImplementation) store.LogStore {
	t.Helper()
	s := im.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return s
}

// openLog opens a log that is closed with the test.
func openLog(t *testing.T, s store.LogStore, id string, attempt int) store.LogWriter {
	t.Helper()
	w, err := s.Open(t.Context(), job.Ref{JobID: id, Attempt: attempt})
	ok(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("closing the log: %v", err)
		}
	})
	return w
}

// lines are entries of one stream, numbered from a first on.
func lines(stream job.Stream, attempt int, first int64, texts ...string) []job.LogEntry {
	var entries []job.LogEntry
	for i, text := range texts {
		line := first + int64(i)
		entries = append(entries, job.LogEntry{Attempt: attempt, Stream: stream, Line: line, Time: epoch.Add(time.Duration(line)), Text: text})
	}
	return entries
}

// readAll reads a log in pieces of a limit.
func readAll(t *testing.T, s store.LogStore, id string, attempt int, position string, limit int) []job.LogEntry {
	t.Helper()
	var all []job.LogEntry
	for {
		entries, next, err := s.Read(t.Context(), id, attempt, position, limit)
		ok(t, err)
		if len(entries) > limit {
			t.Fatalf("a read answers %d entries, want at most %d", len(entries), limit)
		}
		if len(entries) == 0 {
			if next != position {
				t.Fatalf("an empty read moves the position from %q to %q", position, next)
			}
			return all
		}
		all, position = append(all, entries...), next
	}
}

func wantHeld(t *testing.T, w store.LogWriter, stdout, stderr int64) {
	t.Helper()
	if o, e := w.Held(); o != stdout || e != stderr {
		t.Errorf("%d lines of stdout and %d of stderr are held, want %d and %d", o, e, stdout, stderr)
	}
}

func testLogAppend(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	same(t, "a job without a log", nil, readAll(t, s, "j1", 0, "", 10))
	same(t, "an attempt without a log", nil, readAll(t, s, "j1", 3, "", 10))
	w := openLog(t, s, "j1", 1)
	wantHeld(t, w, 0, 0)
	ok(t, w.Append(nil))
	var want []job.LogEntry
	for n := range int64(5) {
		batch := append(lines(job.Stdout, 1, 2*n+1, "out", "more"), lines(job.Stderr, 1, n+1, fmt.Sprint("err ", n))...)
		ok(t, w.Append(batch))
		want = append(want, batch...)
		same(t, "while it is written", want, readAll(t, s, "j1", 0, "", store.MaxLogRead))
	}
	wantHeld(t, w, 10, 5)
	for _, limit := range []int{1, 2, 7, 100} {
		same(t, fmt.Sprintf("in pieces of %d", limit), want, readAll(t, s, "j1", 1, "", limit))
	}
	same(t, "another job", nil, readAll(t, s, "j2", 0, "", 10))
}

func testLogTwice(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	w := openLog(t, s, "j1", 1)
	out, err := lines(job.Stdout, 1, 1, "a", "b", "c", "d"), lines(job.Stderr, 1, 1, "x", "y")
	ok(t, w.Append(append(out[:2:2], err...)))
	ok(t, w.Append(append(err[:2:2], out...)))
	ok(t, w.Append([]job.LogEntry{out[3], out[3]}))
	wantHeld(t, w, 4, 2)
	same(t, "log", append(append(out[:2:2], err...), out[2:]...), readAll(t, s, "j1", 0, "", 10))
}

func testLogTexts(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	w := openLog(t, s, "j1", 1)
	want := lines(job.Stdout, 1, 1, "", " ", "two\nlines", `back\slash`, `\n`, "\\\n\\", "tab\tand\rreturn", "üñí 🚀",
		"\x00\xff not text", strings.Repeat("x", store.MaxLogText), strings.Repeat("\n", store.MaxLogText), "C 1 2", "end\n")
	want[0].Time = time.Time{}
	ok(t, w.Append(want))
	same(t, "log", want, readAll(t, s, "j1", 0, "", 100))
	for n := range want {
		position, err := s.Tail(t.Context(), "j1", 0, n+1)
		ok(t, err)
		same(t, fmt.Sprintf("the last %d", n+1), want[len(want)-n-1:], readAll(t, s, "j1", 0, position, 100))
	}
}

func testLogFencing(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	first := openLog(t, s, "j1", 1)
	ok(t, first.Append(lines(job.Stdout, 1, 1, "a")))
	second := openLog(t, s, "j1", 1)
	wantHeld(t, second, 1, 0)
	const message = "the log of attempt 1 of job j1 was taken over by a newer connection"
	wantFault(t, first.Append(lines(job.Stdout, 1, 2, "b")), fault.Superseded, message)
	wantFault(t, first.Complete(), fault.Superseded, message)
	ok(t, first.Close())
	ok(t, first.Close())
	ok(t, second.Append(lines(job.Stdout, 1, 2, "b")))
	ok(t, second.Close())
	wantFault(t, second.Append(lines(job.Stdout, 1, 3, "c")), fault.Superseded, message)
	third := openLog(t, s, "j1", 1)
	wantHeld(t, third, 2, 0)
	same(t, "log", lines(job.Stdout, 1, 1, "a", "b"), readAll(t, s, "j1", 0, "", 10))

	// Many writers at once: each line is stored once.
	var group sync.WaitGroup
	for range racers {
		group.Go(func() {
			w, err := s.Open(t.Context(), job.Ref{JobID: "j2", Attempt: 1})
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			held, _ := w.Held()
			for line := held + 1; line <= 50; line++ {
				if err := w.Append(lines(job.Stdout, 1, line, fmt.Sprint(line))); err != nil {
					if fault.CodeOf(err) != fault.Superseded {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	group.Wait()
	for i, e := range readAll(t, s, "j2", 0, "", 1000) {
		if e.Line != int64(i+1) || e.Text != fmt.Sprint(i+1) {
			t.Fatalf("entry %d is %+v", i, e)
		}
	}
}

func testLogComplete(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	w := openLog(t, s, "j1", 1)
	entries := lines(job.Stdout, 1, 1, "a", "b")
	ok(t, w.Append(entries))
	if w.Completed() {
		t.Error("a log is complete before anybody said so")
	}
	ok(t, w.Complete())
	ok(t, w.Complete())
	if !w.Completed() {
		t.Error("a log is not complete after it was completed")
	}
	ok(t, w.Append(entries)) // sent twice
	wantFault(t, w.Append(lines(job.Stderr, 1, 1, "late")), fault.Precondition, "the log of attempt 1 of job j1 is complete; nothing can be appended")
	same(t, "log", entries, readAll(t, s, "j1", 0, "", 10))
	position, err := s.Tail(t.Context(), "j1", 1, 1)
	ok(t, err)
	same(t, "tail", entries[1:], readAll(t, s, "j1", 1, position, 10))

	silent := openLog(t, s, "j2", 1)
	ok(t, silent.Complete())
	if !silent.Completed() {
		t.Error("a log without entries is not complete after it was completed")
	}
	same(t, "a log without entries", nil, readAll(t, s, "j2", 0, "", 10))
}

func testLogAttempts(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	var want []job.LogEntry
	for _, attempt := range []int{1, 2, 10, 11} {
		entries := lines(job.Stdout, attempt, 1, fmt.Sprint("attempt ", attempt), "more")
		ok(t, openLog(t, s, "j1", attempt).Append(entries))
		want = append(want, entries...)
		same(t, fmt.Sprint("attempt ", attempt), entries, readAll(t, s, "j1", attempt, "", 1))
	}
	same(t, "all attempts", want, readAll(t, s, "j1", 0, "", 3))
	for n := range want {
		position, err := s.Tail(t.Context(), "j1", 0, n+1)
		ok(t, err)
		same(t, fmt.Sprintf("the last %d", n+1), want[len(want)-n-1:], readAll(t, s, "j1", 0, position, 3))
	}
	position, err := s.Tail(t.Context(), "j1", 0, 1000)
	ok(t, err)
	same(t, "more than there are", want, readAll(t, s, "j1", 0, position, 3))
	_, position, err = s.Read(t.Context(), "j1", 1, "", 1)
	ok(t, err)
	_, _, err = s.Read(t.Context(), "j1", 2, position, 1)
	wantFault(t, err, fault.Invalid, fmt.Sprintf("position: %q is not a position in this log; leave it empty to begin at the beginning", position))
}

// testLogTail has a log that is longer than anything a store may read at once.
func testLogTail(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	w := openLog(t, s, "j1", 1)
	var texts []string
	for n := range 3000 {
		texts = append(texts, strings.Repeat("z", n%200))
	}
	want := lines(job.Stdout, 1, 1, texts...)
	for first := 0; first < len(want); first += 500 {
		ok(t, w.Append(want[first:first+500]))
	}
	ok(t, w.Complete())
	for _, n := range []int{1, 2, 600, 1500, 2999, 3000, 3001} {
		position, err := s.Tail(t.Context(), "j1", 0, n)
		ok(t, err)
		same(t, fmt.Sprintf("the last %d", n), want[max(0, len(want)-n):], readAll(t, s, "j1", 0, position, 1000))
	}
}

func testLogChanged(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	w := openLog(t, s, "j1", 1)
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	c := s.Changed("j1")
	if closed(c) {
		t.Error("changed before anything was appended")
	}
	ok(t, w.Append(lines(job.Stdout, 1, 1, "a")))
	if !closed(c) {
		t.Error("not changed by an append")
	}
	c = s.Changed("j1")
	if closed(c) {
		t.Error("changed again by the same append")
	}
	ok(t, w.Complete())
	if !closed(c) {
		t.Error("not changed by the completion")
	}
	c = s.Changed("j1")
	ok(t, s.Close())
	if !closed(c) || !closed(s.Changed("j1")) {
		t.Error("closing the store leaves somebody waiting")
	}
}

// testLogFollow has readers follow a log while it is written, of two attempts.
func testLogFollow(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	const perAttempt = 200
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			position, count := "", 0
			for count < 2*perAttempt {
				changed := s.Changed("j1")
				entries, next, err := s.Read(t.Context(), "j1", 0, position, 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range entries {
					count++
					if attempt, line := 1+(count-1)/perAttempt, 1+(count-1)%perAttempt; e.Attempt != attempt || e.Line != int64(line) {
						t.Errorf("entry %d is %+v", count, e)
						return
					}
				}
				position = next
				if len(entries) == 0 {
					<-changed
				}
			}
		})
	}
	for attempt := 1; attempt <= 2; attempt++ {
		w := openLog(t, s, "j1", attempt)
		for line := int64(1); line <= perAttempt; line++ {
			ok(t, w.Append(lines(job.Stdout, attempt, line, "x")))
		}
		ok(t, w.Complete())
	}
	group.Wait()
}

func testLogRefusals(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	w := openLog(t, s, "j1", 1)
	for _, test := range []struct {
		entry   job.LogEntry
		message string
	}{
		{job.LogEntry{Stream: 3, Line: 1}, "entries[1].stream: stream 3 is not a stream; allowed are stdout and stderr"},
		{job.LogEntry{Stream: job.Stdout}, "entries[1].line: is 0; lines count from 1"},
		{job.LogEntry{Stream: job.Stdout, Line: 2, Text: strings.Repeat("x", store.MaxLogText+1)},
			"entries[1].text: has 16385 bytes; allowed are 16384, longer lines are cut into several entries"},
	} {
		wantFault(t, w.Append(append(lines(job.Stdout, 1, 1, "a"), test.entry)), fault.Invalid, test.message)
	}
	same(t, "after refusals", nil, readAll(t, s, "j1", 0, "", 10))
	ok(t, w.Append(lines(job.Stdout, 1, 1, "abcdef")))

	_, err := s.Open(t.Context(), job.Ref{JobID: "j1"})
	wantFault(t, err, fault.Invalid, "ref.attempt: is 0; attempts count from 1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx, job.Ref{JobID: "j1", Attempt: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("opening when the caller is gone: %v", err)
	}
	for _, id := range []string{"", "..", "../j1", "j1/../j1", "J1", "/etc/passwd", `a\b`, "j1\x00"} {
		message := fmt.Sprintf("jobId: %q is not the id of a job", id)
		_, err := s.Open(t.Context(), job.Ref{JobID: id, Attempt: 1})
		wantFault(t, err, fault.Invalid, message)
		_, _, err = s.Read(t.Context(), id, 0, "", 1)
		wantFault(t, err, fault.Invalid, message)
		_, err = s.Tail(t.Context(), id, 0, 1)
		wantFault(t, err, fault.Invalid, message)
	}
	for _, position := range []string{"x", "1", "1:", ":1", "0:0", "1:-1", "1:3", "1:999999", "1:99999999999999999999"} {
		_, _, err := s.Read(t.Context(), "j1", 0, position, 1)
		wantFault(t, err, fault.Invalid, fmt.Sprintf("position: %q is not a position in this log; leave it empty to begin at the beginning", position))
	}
	_, _, err = s.Read(t.Context(), "j1", 0, "", 0)
	wantFault(t, err, fault.Invalid, "limit: is 0; allowed are 1 to 10000")
	_, err = s.Tail(t.Context(), "j1", 0, 10001)
	wantFault(t, err, fault.Invalid, "tail: is 10001; allowed are 1 to 10000")
	_, _, err = s.Read(t.Context(), "j1", -1, "", 1)
	wantFault(t, err, fault.Invalid, "attempt: is -1; attempts count from 1, and 0 means all")
}

// testLogLate has a node that was given up go on sending while the next attempt
// runs: either a follower sees what it sends, or it is refused.
func testLogLate(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	first := openLog(t, s, "j1", 1)
	ok(t, first.Append(lines(job.Stdout, 1, 1, "a")))
	var refused error
	var group sync.WaitGroup
	accepted := int64(1)
	group.Go(func() {
		for refused == nil {
			if refused = first.Append(lines(job.Stdout, 1, accepted+1, "late")); refused == nil {
				accepted++
			}
		}
	})
	second := openLog(t, s, "j1", 2)
	ok(t, second.Append(lines(job.Stdout, 2, 1, "b")))
	group.Wait()
	const message = "the log of attempt 1 of job j1 is over: a newer attempt of the job has begun"
	wantFault(t, refused, fault.Precondition, message)
	wantFault(t, first.Complete(), fault.Precondition, message)
	var got int64
	for _, e := range readAll(t, s, "j1", 0, "", 7) {
		if e.Attempt == 1 {
			got++
		}
	}
	if got != accepted {
		t.Errorf("%d entries of the first attempt are stored, %d were acknowledged", got, accepted)
	}
	again := openLog(t, s, "j1", 1)
	wantHeld(t, again, accepted, 0)
	wantFault(t, again.Append(lines(job.Stdout, 1, accepted+1, "later")), fault.Precondition, message)
	ok(t, second.Append(lines(job.Stdout, 2, 2, "c")))
}

func testLogDelete(t *testing.T, im LogImplementation) {
	s := openLogs(t, im)
	ok(t, s.DeleteJob(t.Context(), "j1")) // has none
	for _, id := range []string{"j1", "j2"} {
		for attempt := 1; attempt <= 2; attempt++ {
			w := openLog(t, s, id, attempt)
			ok(t, w.Append(lines(job.Stdout, attempt, 1, "a", "b")))
		}
	}
	writing := openLog(t, s, "j1", 2)
	changed := s.Changed("j1")
	ok(t, s.DeleteJob(t.Context(), "j1"))
	select {
	case <-changed:
	default:
		t.Error("who follows the log is not woken up")
	}
	wantFault(t, writing.Append(lines(job.Stdout, 2, 3, "c")), fault.Precondition, "the log of attempt 2 of job j1 was removed")
	same(t, "removed", nil, readAll(t, s, "j1", 0, "", 10))
	same(t, "another job", 4, len(readAll(t, s, "j2", 0, "", 10)))
	ok(t, s.DeleteJob(t.Context(), "j1"))
	wantFault(t, s.DeleteJob(t.Context(), "../j2"), fault.Invalid, `jobId: "../j2" is not the id of a job`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.DeleteJob(ctx, "j2"); !errors.Is(err, context.Canceled) {
		t.Errorf("deleting when the caller is gone: %v", err)
	}
}

func testLogReopen(t *testing.T, im LogImplementation) {
	s := im.Open(t)
	w, err := s.Open(t.Context(), job.Ref{JobID: "j1", Attempt: 1})
	ok(t, err)
	out, errs := lines(job.Stdout, 1, 1, "a", "b", "c"), lines(job.Stderr, 1, 1, "x")
	ok(t, w.Append(out[:2]))
	ok(t, w.Append(errs))
	s = im.Reopen(t, s)
	w, err = s.Open(t.Context(), job.Ref{JobID: "j1", Attempt: 1})
	ok(t, err)
	wantHeld(t, w, 2, 1)
	ok(t, w.Append(out))
	ok(t, w.Complete())
	want := append(append(out[:2:2], errs...), out[2])
	s = im.Reopen(t, s)
	same(t, "after reopening twice", want, readAll(t, s, "j1", 0, "", 10))
	w, err = s.Open(t.Context(), job.Ref{JobID: "j1", Attempt: 1})
	ok(t, err)
	wantHeld(t, w, 3, 1)
	if !w.Completed() {
		t.Error("that a log is complete did not outlive reopening")
	}
	ok(t, w.Close())
	ok(t, s.Close())
}

func testLogClose(t *testing.T, im LogImplementation) {
	s := im.Open(t)
	w, err := s.Open(t.Context(), job.Ref{JobID: "j1", Attempt: 1})
	ok(t, err)
	ok(t, w.Append(lines(job.Stdout, 1, 1, "a")))
	ok(t, s.Close())
	const message = "the store is closed; the orchestrator is stopping"
	wantFault(t, w.Append(lines(job.Stdout, 1, 2, "b")), fault.Unavailable, message)
	wantFault(t, w.Complete(), fault.Unavailable, message)
	_, err = s.Open(t.Context(), job.Ref{JobID: "j1", Attempt: 1})
	wantFault(t, err, fault.Unavailable, message)
	_, _, err = s.Read(t.Context(), "j1", 0, "", 1)
	wantFault(t, err, fault.Unavailable, message)
	_, err = s.Tail(t.Context(), "j1", 0, 1)
	wantFault(t, err, fault.Unavailable, message)
	wantFault(t, s.DeleteJob(t.Context(), "j1"), fault.Unavailable, message)
	ok(t, w.Close())
	ok(t, s.Close())
}
