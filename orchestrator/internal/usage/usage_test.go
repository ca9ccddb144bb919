package usage

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

func TestLatency(t *testing.T) {
	var l Latency
	if l.Mean() != 0 || l.Quantile(.5) != 0 {
		t.Error("nothing has a mean or a median")
	}
	for i := 1; i <= 1000; i++ {
		l.Note(time.Duration(i) * time.Millisecond)
	}
	if got := l.Mean(); got != 500500*time.Microsecond {
		t.Errorf("the mean is %v", got)
	}
	for q, want := range map[float64]time.Duration{.01: 10 * time.Millisecond, .5: 500 * time.Millisecond, .95: 950 * time.Millisecond} {
		if got := l.Quantile(q); math.Abs(got.Seconds()/want.Seconds()-1) > .08 {
			t.Errorf("the quantile %v is %v, want about %v", q, got, want)
		}
	}
	l.Note(-time.Second)
	l.Note(1000 * time.Hour)
	if l.Buckets[0] != 2 || l.Buckets[bucketCount-1] != 1 {
		t.Errorf("the ends are counted as %d and %d", l.Buckets[0], l.Buckets[bucketCount-1])
	}
}

// TestBuckets holds that each duration is in the smallest bucket that takes it.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "d"))
		i := bucketOf(d)
		if i < bucketCount-1 && d > boundOf(i) || i > 0 && d <= boundOf(i-1) {
			t.Fatalf("%v is in the bucket (%v, %v]", d, boundOf(i-1), boundOf(i))
		}
	})
}

func drawCounts(t *rapid.T) Counts {
	n := func(name string) int64 { return rapid.Int64().Draw(t, name) }
	c := Counts{
		Requests: n("requests"), Failed: n("failed"), Cancelled: n("cancelled"), TokensIn: n("in"), TokensOut: n("out"),
		Estimated: n("estimated"), PacedTokens: n("paced"), PacedTime: time.Duration(n("time")),
	}
	for _, l := range []*Latency{&c.Duration, &c.FirstToken, &c.Queue} {
		l.Sum = time.Duration(n("sum"))
		for range rapid.IntRange(0, 3).Draw(t, "buckets") {
			l.Buckets[rapid.IntRange(0, bucketCount-1).Draw(t, "bucket")] = n("count")
		}
	}
	return c
}

func TestEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCounts(t)
		data := c.AppendBinary(nil)
		got, err := ParseCounts(data)
		if diff := cmp.Diff(c, got); err != nil || diff != "" {
			t.Fatalf("%v, (-want +got):\n%s", err, diff)
		}
		if _, err := ParseCounts(data[:rapid.IntRange(0, len(data)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("counts that are cut off are read")
		}
		if _, err := ParseCounts(append(data, 0)); err == nil {
			t.Fatal("counts that something follows are read")
		}
	})
	if _, err := ParseCounts([]byte{countsFormat + 1}); err == nil {
		t.Error("another format is read")
	}
}

var midnight = time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)

func row(at time.Duration, model, caller, node string, requests, tokens int64) Row {
	return Row{
		Start: midnight.Add(at), Step: time.Minute, Key: Key{model, caller, node},
		Counts: Counts{Requests: requests, TokensOut: tokens},
	}
}

func TestReport(t *testing.T) {
	rows := []Row{
		row(0, "a", Local, "n1", 1, 10), row(time.Minute, "a", Local, "n2", 2, 20), row(9*time.Minute, "b", "job:1", "n1", 4, 100),
		row(10*time.Minute, "c", "job:2", "n1", 8, 0), row(11*time.Minute, "", Local, "", 16, 0),
	}
	read := func(from, to time.Time, f func(*Row) error) error {
		for i := range rows {
			if !rows[i].Start.Before(from) && rows[i].Start.Before(to) {
				if err := f(&rows[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for name, tc := range map[string]struct {
		q    Query
		want string
	}{
		"together":  {Query{Step: 5 * time.Minute}, "='': 31 130 at 0:3/30 5:4/100 10:24/0"},
		"by model":  {Query{GroupBy: ByModel, Step: time.Hour}, "b: 4 100 at 0:4/100 | a: 3 30 at 0:3/30 | ='': 16 0 at 0:16/0 | c: 8 0 at 0:8/0"},
		"by caller": {Query{GroupBy: ByCaller, Step: 10 * time.Minute}, "job:1: 4 100 at 0:4/100 | local: 19 30 at 0:3/30 10:16/0 | job:2: 8 0 at 10:8/0"},
		"two":       {Query{GroupBy: ByModel, Step: time.Hour, MaxSeries: 2}, "b: 4 100 at 0:4/100 | a: 3 30 at 0:3/30 | others: 24 0 at 0:24/0"},
		"one node":  {Query{GroupBy: ByNode, Step: time.Hour, NodeID: "n2"}, "n2: 2 20 at 0:2/20"},
		"a job":     {Query{Step: time.Hour, Caller: "job:2"}, "='': 8 0 at 0:8/0"},
		"nothing":   {Query{GroupBy: ByModel, Step: time.Hour, Model: "z"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.q.From, tc.q.To = midnight, midnight.Add(20*time.Minute)
			q, err := tc.q.Complete(midnight.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			report, err := q.Make(read)
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(report); got != tc.want {
				t.Errorf("it reports\n%s\nwant\n%s", got, tc.want)
			}
			var total int64
			for _, s := range report.Series {
				total += s.Total.Requests
			}
			if total != report.Total.Requests {
				t.Errorf("the series have %d requests and the total %d", total, report.Total.Requests)
			}
		})
	}
}

func shown(r Report) string {
	var parts []string
	for _, s := range r.Series {
		name := s.Key
		switch {
		case s.Others:
			name = "others"
		case name == "":
			name = "=''"
		}
		text := fmt.Sprintf("%s: %d %d at", name, s.Total.Requests, s.Total.TokensOut)
		for _, p := range s.Points {
			text += fmt.Sprintf(" %.0f:%d/%d", p.Start.Sub(midnight).Minutes(), p.Requests, p.TokensOut)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " | ")
}

func TestQuery(t *testing.T) {
	now := midnight.Add(12 * time.Hour)
	for name, tc := range map[string]struct {
		q                 Query
		step              time.Duration
		from, to, problem string
	}{
		"an hour":   {q: Query{From: now.Add(-time.Hour), To: now}, step: time.Minute, from: "02T11:00", to: "02T12:00"},
		"a day":     {q: Query{From: now.Add(-24 * time.Hour), To: now}, step: 30 * time.Minute, from: "01T12:00", to: "02T12:00"},
		"a week":    {q: Query{From: now.Add(-7 * 24 * time.Hour), To: now}, step: 3 * time.Hour, from: "26T12:00", to: "02T12:00"},
		"ten years": {q: Query{From: now.Add(-3650 * 24 * time.Hour), To: now}, step: 60 * 24 * time.Hour},
		"rounded":   {q: Query{From: now.Add(-time.Hour - 1), To: now.Add(1), Step: 10 * time.Minute}, step: 10 * time.Minute, from: "02T10:50", to: "02T12:10"},
		"of old":    {q: Query{From: now.Add(-49 * time.Hour), To: now.Add(-48 * time.Hour)}, step: time.Hour, from: "31T11:00", to: "31T12:00"},
		"backwards": {q: Query{From: now, To: now}, problem: "from: is 2030-01-02T12:00:00Z; it must be before to, which is 2030-01-02T12:00:00Z"},
		"seconds":   {q: Query{From: now.Add(-time.Hour), To: now, Step: 90 * time.Second}, problem: "step: is 1m30s; it must be a whole number of minutes, up to 366 days"},
		"minutes of old": {
			q:       Query{From: now.Add(-49 * time.Hour), To: now, Step: time.Minute},
			problem: "step: is 1m0s; minutes are kept for 48h0m0s and hours for longer, so it must be at least 1h0m0s to begin at 2029-12-31T11:00:00Z",
		},
		"too many": {
			q:       Query{From: now.Add(-26 * time.Hour), To: now, Step: time.Minute},
			problem: "step: is 1m0s, which makes 1560 points from 2030-01-01T10:00:00Z to 2030-01-02T12:00:00Z; at most 1500 are allowed",
		},
		"series": {q: Query{From: now.Add(-time.Hour), To: now, MaxSeries: 51}, problem: "maxSeries: is 51; allowed are 1 to 50"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.q.Complete(now)
			if tc.problem != "" {
				if fault.CodeOf(err) != fault.Invalid || err.Error() != tc.problem {
					t.Errorf("it is %v, want %s", err, tc.problem)
				}
				return
			}
			const layout = "02T15:04"
			if err != nil || got.Step != tc.step || tc.from != "" && (got.From.Format(layout) != tc.from || got.To.Format(layout) != tc.to) {
				t.Errorf("it is %v from %s to %s, %v", got.Step, got.From.Format(layout), got.To.Format(layout), err)
			}
		})
	}
}

// TestFold holds that what is put together has the same sums.
func TestFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []Row
		var want Counts
		for range rapid.IntRange(0, 600).Draw(t, "rows") {
			r := row(0, "m", fmt.Sprint(rapid.IntRange(0, 400).Draw(t, "caller")), "n", rapid.Int64Range(1, 9).Draw(t, "requests"), 1)
			rows = append(rows, r)
			want.Add(&r.Counts)
		}
		var got Counts
		folded := Fold(midnight, rows)
		keys := map[Key]bool{}
		for i := range folded {
			got.Add(&folded[i].Counts)
			keys[folded[i].Key] = true
			if folded[i].Step != time.Hour || !folded[i].Start.Equal(midnight) {
				t.Fatalf("a row is of %v at %v", folded[i].Step, folded[i].Start)
			}
		}
		if got != want || len(keys) != len(folded) || len(folded) > MaxKeys+1 {
			t.Fatalf("%d rows of %d keys with %+v, want %+v", len(folded), len(keys), got, want)
		}
	})
}
