package engine

import "time"

// reportInterval is the least time between two reports of the same state and reason:
// engines say how far they are many times a second.
const reportInterval = 250 * time.Millisecond

// Reporter hands statuses on so that percentages and bytes never fall, and not too often.
// It serves one call of Ensure and belongs to its goroutine.
type Reporter struct {
	report func(Status)
	last   Status
	lastAt time.Time

	base, span float64 // where the current part lies, in percent
	baseBytes  int64   // pulled in earlier parts
}

// NewReporter makes one that passes statuses to report, which may be nil.
func NewReporter(report func(Status)) *Reporter {
	if report == nil {
		report = func(Status) {}
	}
	return &Reporter{report: report, span: 100}
}

// Part begins a new part of the work, which takes it from where it is to the given percent.
func (r *Reporter) Part(until float64) {
	r.base = r.last.Percent
	r.span = max(0, until-r.base)
	r.baseBytes = r.last.CompletedBytes
}

// State reports a state without any progress in it.
func (r *Reporter) State(state State, reason string) {
	r.send(Status{State: state, Reason: reason, Percent: r.last.Percent})
}

// Note reports what is going on within the state that was reported last.
func (r *Reporter) Note(reason string) { r.State(r.last.State, reason) }

// Pulling reports how far the current part has come, in percent of the part.
func (r *Reporter) Pulling(percent float64, completed, total int64, reason string) {
	r.send(Status{
		State: StatePulling, Reason: reason,
		Percent:        r.base + r.span*min(100, max(0, percent))/100,
		CompletedBytes: r.baseBytes + completed,
		TotalBytes:     r.baseBytes + total,
	})
}

// Ready reports the end.
func (r *Reporter) Ready() {
	r.last.Percent = 100
	r.last.CompletedBytes = r.last.TotalBytes
	r.State(StateReady, "")
}

func (r *Reporter) send(s Status) {
	s.Percent = max(s.Percent, r.last.Percent)
	s.CompletedBytes = max(s.CompletedBytes, r.last.CompletedBytes)
	s.TotalBytes = max(s.TotalBytes, r.last.TotalBytes, s.CompletedBytes)
	now := time.Now()
	same := s.State == r.last.State && s.Reason == r.last.Reason
	r.last = s
	if same && now.Sub(r.lastAt) < reportInterval {
		return
	}
	r.lastAt = now
	r.report(s)
}
