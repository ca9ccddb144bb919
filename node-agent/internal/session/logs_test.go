package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// linesSource reads n lines, every third of them of stderr.
func linesSource(n int) LogSource {
	return func(_ context.Context, emit func(Line) error) error {
		for i := range n {
			if err := emit(Line{Stderr: i%3 == 2, Text: fmt.Sprintf("line %d", i), Time: time.Unix(int64(i), 0)}); err != nil {
				return err
			}
		}
		return nil
	}
}

func checkLines(t *testing.T, entries []*orchionv1.LogEntry, want []string) {
	t.Helper()
	if len(entries) != len(want) {
		t.Fatalf("%d entries, want %d", len(entries), len(want))
	}
	for i, e := range entries {
		if e.GetText() != want[i] || e.GetLine() != int64(i+1) || e.GetAttempt() != 1 {
			t.Fatalf("entry %d = %v, want line %d with text %q", i, e, i+1, want[i])
		}
	}
}

func TestPushGoesOnWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.CutLogs(3, 700)
		far.Start()
		b := newBench(t, far)
		defer b.close()
		const n = 3000
		if err := b.logs.Push(t.Context(), ref("a"), linesSource(n)); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr []string
		for i := range n {
			if i%3 == 2 {
				stderr = append(stderr, fmt.Sprintf("line %d", i))
			} else {
				stdout = append(stdout, fmt.Sprintf("line %d", i))
			}
		}
		got := far.LogOf("a")
		checkLines(t, got.Stdout, stdout)
		checkLines(t, got.Stderr, stderr)
		if !got.Closed || got.Streams != 4 {
			t.Errorf("closed %v over %d streams, want closed over 4", got.Closed, got.Streams)
		}
		if at := got.Stdout[1].GetTime().AsTime(); !at.Equal(time.Unix(1, 0)) {
			t.Errorf("the second entry is of %v, want its own time", at)
		}
	})
}

func TestPushDoesNotCloseALogThatCouldNotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		reads := 0
		source := func(ctx context.Context, emit func(Line) error) error {
			reads++
			if reads < 3 {
				_ = emit(Line{Text: "first"})
				return errors.New("the engine is away")
			}
			if far.LogOf("a").Closed {
				t.Error("the log was closed before it was read to its end")
			}
			if err := emit(Line{Text: "first"}); err != nil {
				return err
			}
			return emit(Line{Text: "second"})
		}
		if err := b.logs.Push(t.Context(), ref("a"), source); err != nil {
			t.Fatal(err)
		}
		checkLines(t, far.LogOf("a").Stdout, []string{"first", "second"})
		if !far.LogOf("a").Closed {
			t.Error("the log is not closed")
		}
	})
}

func TestPushIsPromptAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- b.logs.Push(ctx, ref("a"), func(ctx context.Context, emit func(Line) error) error {
				if err := emit(Line{Text: "only"}); err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		time.Sleep(batchAge)
		synctest.Wait()
		checkLines(t, far.LogOf("a").Stdout, []string{"only"})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want context.Canceled", err)
		}
	})
}

func TestPushOfAClosedLogReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		if err := b.logs.Push(t.Context(), ref("a"), linesSource(2)); err != nil {
			t.Fatal(err)
		}
		err := b.logs.Push(t.Context(), ref("a"), func(context.Context, func(Line) error) error {
			t.Error("the source was read")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestEntries(t *testing.T) {
	long := strings.Repeat("x", maxEntryText) + "é"
	for _, c := range []struct {
		name  string
		lines []Line
		want  []string
	}{
		{"plain", []Line{{Text: "a"}, {Text: ""}, {Text: "b"}}, []string{"a", "", "b"}},
		{"long", []Line{{Text: long}}, []string{long[:maxEntryText], "é"}},
		{"cut between the bytes of a character", []Line{{Text: strings.Repeat("x", maxEntryText-1) + "é"}}, []string{strings.Repeat("x", maxEntryText-1), "é"}},
		{"invalid", []Line{{Text: "a\xffb"}}, []string{"a\uFFFDb"}},
		{"a character over two pieces", []Line{{Text: "a\xc3", Partial: true}, {Text: "\xa9b"}}, []string{"a", "éb"}},
		{"a piece that ends in an invalid byte", []Line{{Text: "a\xff", Partial: true}, {Text: "b"}}, []string{"a\uFFFD", "b"}},
		{"the end of a character never comes", []Line{{Text: "a\xc3", Partial: true}}, []string{"a", "\uFFFD"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNumbering(1, nil)
			var got []*orchionv1.LogEntry
			for _, l := range c.lines {
				got = append(got, n.entries(l)...)
			}
			got = append(got, n.finish()...)
			checkLines(t, got, c.want)
		})
	}
}

// Whatever is held already, the entries are those of the whole log without the first ones.
func TestEntriesAfterWhatIsHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Line {
			return Line{
				Stderr:  rapid.Bool().Draw(t, "stderr"),
				Text:    string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")),
				Partial: rapid.Bool().Draw(t, "partial"),
			}
		})).Draw(t, "lines")
		read := func(n *numbering) (stdout, stderr []string) {
			var all []*orchionv1.LogEntry
			for _, l := range lines {
				all = append(all, n.entries(l)...)
			}
			for _, e := range append(all, n.finish()...) {
				if len(e.GetText()) > maxEntryText || !utf8.ValidString(e.GetText()) {
					t.Fatalf("entry of %d bytes, valid UTF-8: %v", len(e.GetText()), utf8.ValidString(e.GetText()))
				}
				if e.GetStream() == "stderr" {
					stderr = append(stderr, e.GetText())
				} else {
					stdout = append(stdout, e.GetText())
				}
			}
			return stdout, stderr
		}
		stdout, stderr := read(newNumbering(1, nil))
		n := newNumbering(1, &orchionv1.PushLogsResponse{
			StdoutLines: int64(rapid.IntRange(0, len(stdout)).Draw(t, "held stdout")),
			StderrLines: int64(rapid.IntRange(0, len(stderr)).Draw(t, "held stderr")),
		})
		restOut, restErr := read(n)
		if strings.Join(restOut, "\n") != strings.Join(stdout[n.stdout.held:], "\n") || strings.Join(restErr, "\n") != strings.Join(stderr[n.stderr.held:], "\n") {
			t.Fatalf("what comes after %d and %d entries differs", n.stdout.held, n.stderr.held)
		}
	})
}
