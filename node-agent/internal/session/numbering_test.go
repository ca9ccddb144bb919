package session

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// far is the orchestrator's side of a log: what is stored, and what it says of it.
type far struct{ entries []*orchionv1.LogEntry }

func (f *far) take(t rapid.TB, entries []*orchionv1.LogEntry) {
	for _, e := range entries {
		held := f.held()
		if last := map[string]int64{"stdout": held.StdoutLines, "stderr": held.StderrLines}[e.GetStream()]; e.GetLine() != last+1 {
			t.Fatalf("%v is sent when %d entries of its stream are held", e, last)
		}
		f.entries = append(f.entries, e)
	}
}

func (f *far) held() *orchionv1.PushLogsResponse {
	r := &orchionv1.PushLogsResponse{}
	for _, e := range f.entries {
		if e.GetStream() == "stderr" {
			r.StderrLines = e.GetLine()
		} else {
			r.StdoutLines = e.GetLine()
		}
		if e.GetNote() {
			continue
		}
		if r.First == nil {
			r.First = e
		}
		if r.Last == nil || !r.Last.GetTime().AsTime().Equal(e.GetTime().AsTime()) {
			r.LastSameTime = 0
		}
		r.Last = e
		r.LastSameTime++
	}
	return r
}

// A log is read in many readings, by several runs of the agent, while the engine throws
// away its beginning. What arrives is every line once, in order, and a note wherever lines
// are missing, and nowhere else.
func TestRotatedLogs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type written struct {
			Line
			id int
		}
		var log []written // all that the job ever prints
		now := time.Unix(1_900_000_000, 1)
		for range rapid.IntRange(0, 60).Draw(t, "lines") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "later")) * time.Millisecond)
			// Few texts, so that they say nothing of the place.
			log = append(log, written{Line{
				Stderr: rapid.Bool().Draw(t, "stderr"), Time: now, Text: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "text")),
			}, len(log)})
		}
		var f far
		n := newNumbering(1, f.held())
		begin, end, sent := 0, 0, 0
		var want []string
		for reading := 0; end < len(log); reading++ {
			switch rapid.IntRange(0, 2).Draw(t, "next") {
			case 0:
				n = newNumbering(1, f.held())
			case 1:
				n.again()
			default:
				if reading > 0 {
					n.entries(Line{Again: true})
				}
			}
			end = rapid.IntRange(end, len(log)).Draw(t, "end")
			if sent > 0 {
				begin = rapid.IntRange(begin, end).Draw(t, "begin")
				// An engine throws whole files away: not a part of what it was given at
				// one time.
				for begin > 0 && begin < end && log[begin].Time.Equal(log[begin-1].Time) {
					begin++
				}
			}
			for _, w := range log[begin:end] {
				f.take(t, n.entries(w.Line))
			}
			if begin < end {
				if sent > 0 && begin >= sent {
					want = append(want, "note")
				}
				for ; sent < end; sent++ {
					if sent >= begin {
						want = append(want, log[sent].Text)
					}
				}
			}
		}
		f.take(t, n.finish())
		if n := len(f.entries); begin == end && begin < len(log) && sent > 0 && n > 0 && f.entries[n-1].GetNote() {
			f.entries = f.entries[:n-1] // all of it is gone: rightly said
		}
		var got []string
		for _, e := range f.entries {
			if e.GetNote() {
				got = append(got, "note")
			} else {
				got = append(got, e.GetText())
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	})
}
