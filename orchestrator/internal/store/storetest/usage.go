package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// usageHour is the start of an hour.
var usageHour = epoch.Truncate(time.Hour)

// usageRow counts so many calls of a model in a minute after usageHour.
func usageRow(minute int, model string, requests int64) usage.Row {
	r := usage.Row{
		Start: usageHour.Add(time.Duration(minute) * time.Minute), Step: time.Minute,
		Key: usage.Key{Model: model, Caller: usage.Local, NodeID: "n1"},
		Counts: usage.Counts{
			Requests: requests, Failed: 1, Cancelled: 2, TokensIn: 1 << 40, TokensOut: 5, Estimated: 3,
			PacedTokens: 4, PacedTime: 3 * time.Second,
		},
	}
	for range requests {
		r.Duration.Note(70 * time.Millisecond)
		r.FirstToken.Note(time.Hour)
		r.Queue.Note(0)
	}
	return r
}

// usageOf reads rows of a time, in order.
func usageOf(t *testing.T, s store.Store, from, to time.Time) []usage.Row {
	t.Helper()
	var rows []usage.Row
	ok(t, s.Usage(t.Context(), from, to, func(r *usage.Row) error {
		rows = append(rows, *r)
		return nil
	}))
	slices.SortFunc(rows, func(a, b usage.Row) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Caller, b.Caller))
	})
	return rows
}

func testUsage(t *testing.T, im Implementation) {
	s := im.Open(t)
	ok(t, s.AddUsage(t.Context(), nil))
	first, second, third := usageRow(0, "a", 1), usageRow(1, "a", 2), usageRow(1, "b", 3)
	third.Caller, third.NodeID = "", ""
	ok(t, s.AddUsage(t.Context(), []usage.Row{first, second, third}))
	same(t, "what was added", []usage.Row{first, second, third}, usageOf(t, s, usageHour, usageHour.Add(time.Hour)))
	more := usageRow(1, "a", 7)
	ok(t, s.AddUsage(t.Context(), []usage.Row{more}))
	second.Add(&more.Counts)
	if im.Reopen != nil {
		s = im.Reopen(t, s)
	}
	defer func(s store.Store) { ok(t, s.Close()) }(s)
	same(t, "after more was added", []usage.Row{first, second, third}, usageOf(t, s, usageHour, usageHour.Add(time.Hour)))
	same(t, "from within a minute", []usage.Row{second, third}, usageOf(t, s, usageHour.Add(1), usageHour.Add(time.Hour)))
	same(t, "to the start of a minute", []usage.Row{first}, usageOf(t, s, usageHour, second.Start))
	same(t, "to just after it", []usage.Row{first, second, third}, usageOf(t, s, usageHour, second.Start.Add(1)))

	stop := errors.New("enough")
	calls := 0
	err := s.Usage(t.Context(), usageHour, usageHour.Add(time.Hour), func(*usage.Row) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("an error of the reader after %d rows is answered as %v", calls, err)
	}
	late, odd := usageRow(0, "a", 1), usageRow(0, "a", 1)
	late.Start = late.Start.Add(time.Second)
	odd.Step = time.Second
	wantFault(t, s.AddUsage(t.Context(), []usage.Row{first, late}), fault.Invalid,
		"start: is 2030-01-02T03:00:01Z; it must be the beginning of a step of 1m0s")
	wantFault(t, s.AddUsage(t.Context(), []usage.Row{first, odd}), fault.Invalid, "step: is 1s; allowed are 1m0s and 1h0m0s")
	same(t, "after refusals", []usage.Row{first}, usageOf(t, s, usageHour, second.Start))
}

func testFoldUsage(t *testing.T, im Implementation) {
	s := open(t, im)
	fold := func(before time.Time, want bool) {
		t.Helper()
		more, err := s.FoldUsage(t.Context(), before)
		ok(t, err)
		if more != want {
			t.Errorf("folding what is before %s answers %v, want %v", before, more, want)
		}
	}
	fold(usageHour.Add(time.Hour), false)
	next := usageRow(60, "a", 1)
	ok(t, s.AddUsage(t.Context(), []usage.Row{usageRow(0, "a", 1), usageRow(59, "a", 2), usageRow(3, "b", 4), next}))
	fold(usageHour.Add(time.Hour-1), false)
	fold(usageHour.Add(time.Hour), true)
	a, b := usageRow(0, "a", 1), usageRow(0, "b", 4)
	rest := usageRow(0, "a", 2)
	a.Add(&rest.Counts)
	a.Step, b.Step = time.Hour, time.Hour
	same(t, "an hour and a minute", []usage.Row{a, b, next}, usageOf(t, s, usageHour, usageHour.Add(2*time.Hour)))
	fold(usageHour.Add(time.Hour), false)

	// What comes late is added to the hour.
	ok(t, s.AddUsage(t.Context(), []usage.Row{rest}))
	fold(usageHour.Add(time.Hour), true)
	a.Add(&rest.Counts)
	same(t, "with what came late", []usage.Row{a, b}, usageOf(t, s, usageHour, next.Start))

	// Of too many keys the smallest share one.
	var many []usage.Row
	for i := range usage.MaxKeys + 20 {
		r := usageRow(60+i%60, "m", 10)
		r.Caller = fmt.Sprintf("job:%03d", i)
		many = append(many, r)
	}
	ok(t, s.AddUsage(t.Context(), many))
	fold(usageHour.Add(3*time.Hour), true)
	var total int64
	rows := usageOf(t, s, next.Start, next.Start.Add(time.Hour))
	for _, r := range rows {
		total += r.Requests
	}
	if want := int64(10*(usage.MaxKeys+20) + 1); total != want || len(rows) > usage.MaxKeys+2 {
		t.Errorf("%d rows with %d requests, want at most %d with %d", len(rows), total, usage.MaxKeys+2, want)
	}
	if i := slices.IndexFunc(rows, func(r usage.Row) bool { return r.Caller == usage.Others && r.Model == "m" }); i < 0 || rows[i].Requests < 200 {
		t.Error("the smallest keys are not with others")
	}
}

func testDeleteUsage(t *testing.T, im Implementation) {
	s := open(t, im)
	hour := usageRow(-60, "a", 1)
	hour.Step = time.Hour
	ok(t, s.AddUsage(t.Context(), []usage.Row{hour, usageRow(0, "a", 1), usageRow(1, "a", 1), usageRow(2, "a", 1)}))
	remove := func(before time.Time, limit int, wantMore bool, want ...usage.Row) {
		t.Helper()
		more, err := s.DeleteUsage(t.Context(), before, limit)
		ok(t, err)
		if more != wantMore {
			t.Errorf("more is %v, want %v", more, wantMore)
		}
		same(t, "what is left", want, usageOf(t, s, usageHour.Add(-2*time.Hour), usageHour.Add(time.Hour)))
	}
	remove(hour.Start, 10, false, hour, usageRow(0, "a", 1), usageRow(1, "a", 1), usageRow(2, "a", 1))
	remove(usageHour.Add(2*time.Minute), 2, true, usageRow(1, "a", 1), usageRow(2, "a", 1))
	remove(usageHour.Add(2*time.Minute), 2, false, usageRow(2, "a", 1))
	_, err := s.DeleteUsage(t.Context(), usageHour, 0)
	wantFault(t, err, fault.Invalid, "limit: is 0; allowed are 1 to 1000")
}
