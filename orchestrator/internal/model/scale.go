package model

import "time"

// pressedFor is how long there must be more requests than the replicas are
// there for until there is another replica: one burst is not worth loading a
// model for.
const pressedFor = 2 * time.Second

// Demand is what clients want of a model, as the gateway sees it.
type Demand struct {
	// Queued wait for a replica, InFlight are being answered.
	Queued, InFlight int
	// LastUsed is when the last request came.
	LastUsed time.Time
}

// scaling is how many replicas the demand for a deployment asks for.
type scaling struct {
	want int
	// neededAt is when so many replicas, or more, were needed last: [0] when one
	// was. The times do not rise with the number.
	neededAt [MaxReplicas]time.Time
	// pressedSince is since when the replicas that there are do not suffice;
	// zero: they do.
	pressedSince time.Time
	// forgoneAt is when a replica was given up for others last: what was used
	// before is no reason for a new one.
	forgoneAt time.Time
}

// begin sets the number at the start, or when somebody changes it.
func (s *scaling) begin(replicas int, now time.Time) {
	*s = scaling{want: replicas}
	s.need(replicas, now)
}

// forgo gives a replica up before its time.
func (s *scaling) forgo(now time.Time) {
	s.want = max(s.want-1, 0)
	clear(s.neededAt[s.want:])
	s.forgoneAt = now
}

// need notes that so many replicas are needed now.
func (s *scaling) need(replicas int, now time.Time) {
	for i := range min(replicas, MaxReplicas) {
		s.neededAt[i] = now
	}
}

// decide answers how many replicas there should be, of which so many serve, and
// when that may change although nothing happens; zero: never.
//
// It goes up to one at once, and further when the demand has been too much for
// all replicas for a while. A replica is given up when it has not been needed
// for the idle timeout.
func (s *scaling) decide(spec *Spec, d Demand, serving int, now time.Time) (want int, next time.Time) {
	wake := wakeup{}
	target := spec.target()
	needed := (d.InFlight + target - 1) / target
	if d.Queued > 0 {
		needed = max(needed, 1)
	}
	// Those that are on their way may be enough, so that nothing is said of more
	// before they serve.
	if pressed := s.want > 0 && serving >= s.want && (d.Queued > 0 || needed > s.want); !pressed {
		s.pressedSince = time.Time{}
		needed = min(needed, max(s.want, 1))
	} else {
		if s.pressedSince.IsZero() {
			s.pressedSince = now
		}
		if now.Sub(s.pressedSince) < pressedFor {
			needed = min(needed, s.want)
			wake.at(s.pressedSince.Add(pressedFor))
		} else {
			needed = max(s.want+1, (d.InFlight+d.Queued+target-1)/target)
			s.pressedSince = time.Time{}
		}
	}
	s.need(needed, now)
	if d.LastUsed.After(s.neededAt[0]) && d.LastUsed.After(s.forgoneAt) {
		s.neededAt[0] = d.LastUsed
	}
	s.want = spec.MinReplicas
	for s.want < spec.MaxReplicas && now.Sub(s.neededAt[s.want]) < spec.idleTimeout() {
		s.want++
	}
	if s.want > spec.MinReplicas {
		wake.at(s.neededAt[s.want-1].Add(spec.idleTimeout()))
	}
	return s.want, wake.next
}
