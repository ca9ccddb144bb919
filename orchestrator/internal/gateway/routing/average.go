package routing

import "time"

const (
	// halfLife is how long it takes until what was measured counts half: long
	// enough to remember a replica between two questions of a person, short
	// enough to forget that a game ran on its machine.
	halfLife = 2 * time.Minute
	// steadiness is how many measurements a mean is made of when they are fresh.
	steadiness = 8
)

// average is a mean that gives new measurements a fixed weight and old ones
// less the older they become. Its zero value has measured nothing.
type average struct {
	value  float64
	weight float64 // of value, in measurements, at the time of at
	at     time.Time
}

// weightAt is what the measurements count by now, in fresh ones. A hyperbola
// instead of the exponential's curve: it costs one division.
func (a *average) weightAt(now time.Time) float64 {
	if a.weight == 0 {
		return 0
	}
	age := max(now.Sub(a.at), 0)
	return a.weight * float64(halfLife) / float64(halfLife+age)
}

// add takes a measurement in.
func (a *average) add(value float64, now time.Time) {
	a.weight = min(a.weightAt(now), steadiness-1) + 1
	a.value += (value - a.value) / a.weight
	a.at = now
}

// blend is the mean where it is fresh and prior, what is to be expected anyway,
// where it is old; prior counts as one measurement.
func (a *average) blend(prior float64, now time.Time) float64 {
	weight := a.weightAt(now)
	if weight == 0 {
		return prior
	}
	if prior == 0 {
		return a.value
	}
	return (a.value*weight + prior) / (weight + 1)
}

// speed is how fast one replica, or all of a model, answered lately.
type speed struct {
	first  average // seconds from the question to the first token, of streams
	rate   average // tokens/s of one answer after its first token
	tokens average // in one answer
	whole  average // seconds from the question to the end of the answer
}

func (s *speed) add(o Outcome, now time.Time) {
	if o.First > 0 {
		s.first.add(o.First.Seconds(), now)
	}
	s.whole.add(o.Whole.Seconds(), now)
	if o.Tokens <= 0 {
		return
	}
	s.tokens.add(float64(o.Tokens), now)
	// What was over in a few milliseconds, or came all at once, says nothing.
	if generating := o.Whole - o.First; o.Tokens > 1 && generating > minGenerating {
		s.rate.add(float64(o.Tokens)/generating.Seconds(), now)
	}
}

// minGenerating is how long an answer must be on its way for its tokens/s to be
// more than the clock's noise.
const minGenerating = 5 * time.Millisecond
