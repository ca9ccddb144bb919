package usage

import (
	"cmp"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// GroupBy says what a report tells apart.
type GroupBy int

// What a report can tell apart.
const (
	Together GroupBy = iota
	ByModel
	ByCaller
	ByNode
)

const (
	// MaxPoints bounds the steps of a report.
	MaxPoints = 1500
	// MaxSeries bounds what a report tells apart.
	MaxSeries = 50
	// DefaultSeries is how much it tells apart when nobody says.
	DefaultSeries = 10
	// maxStep bounds one step.
	maxStep = 366 * 24 * time.Hour
)

// Query says what a report tells of. Empty names do not narrow it.
type Query struct {
	// From (inclusive) and To (exclusive) are rounded outwards to Steps.
	From, To time.Time
	// Step is a whole number of minutes; 0: one that makes some 60 points.
	Step    time.Duration
	GroupBy GroupBy
	// MaxSeries is how many series there are besides the one of all others.
	MaxSeries int

	Model, Caller, NodeID string
}

// Complete checks a query, sets what it leaves open and rounds its times. Errors
// name the field.
func (q Query) Complete(now time.Time) (Query, error) {
	if !q.From.Before(q.To) {
		return q, fault.BadField("from", "is %s; it must be before to, which is %s", q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339))
	}
	least := time.Minute
	if q.From.Before(now.Add(-MinutesKept)) {
		least = time.Hour // older ones are kept as hours
	}
	span := q.To.Sub(q.From)
	switch {
	case q.Step == 0:
		q.Step = max(stepFor(span), least)
	case q.Step < 0 || q.Step%time.Minute != 0 || q.Step > maxStep:
		return q, fault.BadField("step", "is %v; it must be a whole number of minutes, up to %d days", q.Step, maxStep/(24*time.Hour))
	case q.Step < least:
		return q, fault.BadField("step", "is %v; minutes are kept for %v and hours for longer, so it must be at least %v to begin at %s",
			q.Step, MinutesKept, least, q.From.UTC().Format(time.RFC3339))
	}
	if points := span / q.Step; points > MaxPoints {
		return q, fault.BadField("step", "is %v, which makes %d points from %s to %s; at most %d are allowed",
			q.Step, points, q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339), MaxPoints)
	}
	switch {
	case q.MaxSeries == 0:
		q.MaxSeries = DefaultSeries
	case q.MaxSeries < 1 || q.MaxSeries > MaxSeries:
		return q, fault.BadField("maxSeries", "is %d; allowed are 1 to %d", q.MaxSeries, MaxSeries)
	}
	q.From = stepOf(q.From, q.Step)
	if to := stepOf(q.To, q.Step); to.Equal(q.To) {
		q.To = to
	} else {
		q.To = to.Add(q.Step)
	}
	return q, nil
}

// steps are those that are chosen from, and what a person reads on an axis.
var steps = [...]time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

func stepFor(span time.Duration) time.Duration {
	const points = 60
	for _, step := range steps {
		if span/step <= points {
			return step
		}
	}
	const day = 24 * time.Hour
	return (span / points).Truncate(day)
}

// stepOf is the start of the step that a time is in.
func stepOf(t time.Time, step time.Duration) time.Time {
	seconds := int64(step / time.Second)
	since := t.Unix()
	return time.Unix(since-((since%seconds)+seconds)%seconds, 0).UTC()
}

// Report is what a query is answered.
type Report struct {
	Query  // complete
	Series []Series
	Total  Counts
}

// Series is the counts of one model, caller or node.
type Series struct {
	Key string
	// Others says that it is all that have no series of their own; Key is empty.
	Others bool
	Total  Counts
	// Points are the steps in which there was something, oldest first.
	Points []Point
}

// Point is the counts of one step.
type Point struct {
	Start time.Time
	Counts
}

// Rows calls f with each row of a time.
type Rows func(from, to time.Time, f func(*Row) error) error

// Make reads the rows of a complete query. It reads them twice, so that what it
// holds is bounded by the answer: first to find who is largest.
func (q Query) Make(rows Rows) (Report, error) {
	weights := map[string]int64{}
	if q.GroupBy != Together {
		err := rows(q.From, q.To, func(r *Row) error {
			if q.passes(r) {
				weights[q.group(r.Key)] += r.weight()
			}
			return nil
		})
		if err != nil {
			return Report{}, err
		}
	} else {
		weights[""] = 0
	}
	m := maker{query: q, named: largest(weights, q.MaxSeries)}
	if err := rows(q.From, q.To, func(r *Row) error { m.add(r); return nil }); err != nil {
		return Report{}, err
	}
	return m.report(), nil
}

func (q *Query) passes(r *Row) bool {
	return (q.Model == "" || q.Model == r.Model) && (q.Caller == "" || q.Caller == r.Caller) && (q.NodeID == "" || q.NodeID == r.NodeID)
}

// group is what a row is counted under.
func (q *Query) group(k Key) string {
	switch q.GroupBy {
	case ByModel:
		return k.Model
	case ByCaller:
		return k.Caller
	case ByNode:
		return k.NodeID
	default:
		return ""
	}
}

// largest picks the names with the largest weights.
func largest(weights map[string]int64, most int) map[string]*building {
	names := make([]string, 0, len(weights))
	for name := range weights {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(a, b)) })
	named := make(map[string]*building, most)
	for _, name := range names[:min(most, len(names))] {
		named[name] = &building{}
	}
	return named
}

// building is a series that is being put together.
type building struct {
	total  Counts
	points map[int64]*Counts // by start, in seconds
}

func (b *building) add(start int64, c *Counts) {
	b.total.Add(c)
	if b.points == nil {
		b.points = map[int64]*Counts{}
	}
	if b.points[start] == nil {
		b.points[start] = &Counts{}
	}
	b.points[start].Add(c)
}

func (b *building) series(key string, others bool) Series {
	s := Series{Key: key, Others: others, Total: b.total, Points: make([]Point, 0, len(b.points))}
	for start, counts := range b.points {
		s.Points = append(s.Points, Point{Start: time.Unix(start, 0).UTC(), Counts: *counts})
	}
	slices.SortFunc(s.Points, func(a, b Point) int { return a.Start.Compare(b.Start) })
	return s
}

type maker struct {
	query  Query
	named  map[string]*building
	others building
	total  Counts
}

func (m *maker) add(r *Row) {
	if !m.query.passes(r) {
		return
	}
	b := m.named[m.query.group(r.Key)]
	if b == nil {
		b = &m.others
	}
	b.add(stepOf(r.Start, m.query.Step).Unix(), &r.Counts)
	m.total.Add(&r.Counts)
}

func (m *maker) report() Report {
	report := Report{Query: m.query, Total: m.total}
	for name, b := range m.named {
		if b.total.Requests > 0 { // else its rows have gone since
			report.Series = append(report.Series, b.series(name, false))
		}
	}
	slices.SortFunc(report.Series, func(a, b Series) int {
		return cmp.Or(cmp.Compare(b.Total.weight(), a.Total.weight()), cmp.Compare(a.Key, b.Key))
	})
	if m.others.total.Requests > 0 {
		report.Series = append(report.Series, m.others.series("", true))
	}
	return report
}
