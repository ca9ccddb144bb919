package routing

import (
	"math"
	"strconv"
	"time"
)

// Candidate is a replica in the numbers that a choice is made by.
type Candidate struct {
	// InFlight is how many requests to the model it has, Beside how many requests
	// to other models its node has.
	InFlight, Beside int
	// AtOnce is about how many requests the engine answers together; 0: not known.
	AtOnce int
	// First and Rate are its expected time to the first token and tokens/s, in
	// seconds; 0: not known of any replica.
	First, Rate float64
	// Cold is true when the engine has probably to load the model first.
	Cold bool
	// Cached is the share of the request that the replica has read before, 0 to 1.
	Cached float64
	// Probe is true when it failed lately and one request is to find out whether
	// it works again. Out is true when it is not to be asked.
	Probe, Out bool
	// Full is true when it is out because it has as many requests as it may.
	Full bool
	// Chosen counts up: the one with the smaller number was chosen longer ago.
	Chosen uint64
}

// Typical is what is known of a model's answers whoever gives them.
type Typical struct {
	Tokens float64       // in one answer; 0: not known
	Whole  time.Duration // 0: not known
}

// Points say what a candidate was chosen by: seconds that the answer will
// probably take. The smallest sum is the best.
type Points struct {
	// Answer is how long it takes on an idle replica, Crowd what it takes longer
	// for what the replica and its node do besides, Load what loading the model
	// takes. Cache is what is spared, below zero, by what was read before.
	Answer, Crowd, Load, Cache float64
}

// Sum is all points together.
func (p Points) Sum() float64 { return p.Answer + p.Crowd + p.Load + p.Cache }

const (
	// unknownAnswer is how long an answer takes of which nothing is known.
	unknownAnswer = 1.0
	// unknownTokens is how many tokens an answer has if nobody counts them.
	unknownTokens = 128
	// loading is what it costs that a model may have to be loaded.
	loading = 5.0
	// usualAtOnce is how many requests an engine answers together if it does not
	// say; Ollama's number.
	usualAtOnce = 4
	// shortPrefix is how many bytes of a beginning are not worth a detour.
	shortPrefix = 512
	// much is the share of a request that is worth telling that it was read.
	much = 0.5
	// alike is the factor within which two candidates are equally good: what is
	// measured is not more exact.
	alike = 1.1
)

// Points works out what a candidate is chosen by.
func (c *Candidate) Points(t Typical) Points {
	p := Points{Answer: unknownAnswer}
	switch {
	case c.Rate > 0:
		tokens := t.Tokens
		if tokens == 0 {
			tokens = unknownTokens
		}
		p.Answer = c.First + tokens/c.Rate
	case t.Whole > 0:
		p.Answer = t.Whole.Seconds()
	}
	atOnce := c.AtOnce
	if atOnce <= 0 {
		atOnce = usualAtOnce
	}
	p.Crowd = p.Answer * float64(c.InFlight+c.Beside) / float64(atOnce)
	if c.Cold {
		p.Load = loading
	}
	// In answers rather than in what reading takes: the time to the first token
	// is measured with the cache at work, and would say that the cache is of no
	// use just where it is. A conversation stays where it is until the replica
	// has as much more to do as it answers at once.
	p.Cache = -p.Answer * c.Cached
	return p
}

// Choose answers which candidate is the best by the points, and its points; -1
// when all are out. One that is to be probed comes first: another try is
// left if it fails, and it would never come back if the others always were better.
// Of those that are about equally good it is the one chosen longest ago.
func Choose(candidates []Candidate, t Typical) (best int, points Points) {
	best = -1
	least := math.Inf(1)
	for i := range candidates {
		c := &candidates[i]
		if c.Out {
			continue
		}
		if c.Probe {
			return i, c.Points(t)
		}
		if sum := c.Points(t).Sum(); best < 0 || sum < least {
			best, least = i, sum
		}
	}
	if best < 0 {
		return -1, Points{}
	}
	most := least*alike + 1e-9
	oldest := candidates[best].Chosen
	for i := range candidates {
		if c := &candidates[i]; !c.Out && c.Chosen < oldest && c.Points(t).Sum() <= most {
			best, oldest = i, c.Chosen
		}
	}
	return best, candidates[best].Points(t)
}

// why says in words why a candidate was chosen out of so many.
func (c *Candidate) why(of int) string {
	b := make([]byte, 0, 128)
	switch {
	case c.Probe:
		b = append(b, "tried again after failures"...)
	case of == 1:
		return "the only replica"
	case c.Cached >= much:
		b = append(b, "it read "...)
		b = strconv.AppendInt(b, int64(c.Cached*100), 10)
		b = append(b, " % of this conversation before"...)
	case c.Rate > 0 || c.First > 0:
		b = append(b, "the soonest"...)
	default:
		b = append(b, "the least busy"...)
	}
	b = append(b, " of "...)
	b = strconv.AppendInt(b, int64(of), 10)
	b = append(b, " replicas, with "...)
	b = strconv.AppendInt(b, int64(c.InFlight), 10)
	b = append(b, " requests in flight"...)
	if c.First > 0 {
		b = append(b, ", first token after "...)
		b = strconv.AppendInt(b, int64(c.First*1000), 10)
		b = append(b, " ms"...)
	}
	if c.Rate > 0 {
		b = append(b, ", "...)
		b = strconv.AppendInt(b, int64(c.Rate), 10)
		b = append(b, " tokens/s"...)
	}
	if c.Cold {
		b = append(b, ", which may have to load it"...)
	}
	return string(b)
}
