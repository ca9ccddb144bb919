package worker

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1_900_000_000, 0)
	type entry struct{ at, read time.Duration } // after the reading was opened
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		entries []entry
		want    int // the index of the entry before which something may be missing; -1: none
	}{
		{"kept up with", []entry{{0, 1 * ms}, {5000 * ms, 5001 * ms}, {9000 * ms, 9003 * ms}}, -1},
		{"behind, without a leap", []entry{{0, 900 * ms}, {100 * ms, 1200 * ms}, {200 * ms, 1500 * ms}}, -1},
		{"behind, and a leap", []entry{{0, 100 * ms}, {100 * ms, 1200 * ms}, {1100 * ms, 1300 * ms}}, 2},
		{"a leap in what was there when it was opened", []entry{{-9000 * ms, 0}, {-5000 * ms, 0}, {-1 * ms, 0}}, -1},
		{"an engine whose clock is ahead", []entry{{3000 * ms, 1 * ms}, {8000 * ms, 5001 * ms}, {12000 * ms, 9003 * ms}}, -1},
		{"one that is ahead, and a leap", []entry{{3000 * ms, 1 * ms}, {3100 * ms, 1200 * ms}, {4100 * ms, 1300 * ms}}, 2},
		{"a file that is given twice", []entry{{0, 1 * ms}, {5000 * ms, 5001 * ms}, {100 * ms, 5002 * ms}}, 2},
		{"streams out of order", []entry{{0, 1 * ms}, {5000 * ms, 5001 * ms}, {4990 * ms, 5002 * ms}}, -1},
		{"a leap too short for a file", []entry{{0, 900 * ms}, {100 * ms, 1200 * ms}, {400 * ms, 1500 * ms}}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			r := p.begin(start, true, 256<<20)
			got := -1
			for i, e := range tt.entries {
				if r.overtaken(start.Add(e.at), start.Add(e.read), 5<<20) {
					got = i
					break
				}
			}
			if got != tt.want {
				t.Errorf("something may be missing before entry %d, want %d", got, tt.want)
			}
		})
	}
}

// An engine whose clock is behind makes a reader seem to be: it is asked again, but not for
// ever.
func TestPaceLearnsFromFalseAlarms(t *testing.T) {
	start := time.Unix(1_900_000_000, 0)
	var p pace
	alarms := 0
	for now := time.Duration(0); now < time.Hour; {
		r := p.begin(start.Add(now), true, 1<<20)
		for at := time.Duration(0); now < time.Hour; at += time.Second {
			now = max(now, at)
			if r.overtaken(start.Add(at-10*time.Second), start.Add(now), 1<<20) {
				alarms++
				break
			}
		}
	}
	if alarms == 0 || alarms > 20 {
		t.Errorf("the log was read again %d times in an hour", alarms)
	}
}
