package main

import (
	"slices"
	"time"
)

// samples are what was measured of one way under one load.
type samples struct {
	total      []time.Duration // of each request, to the end of its answer
	firstToken []time.Duration // of each stream, from the question
	gap        []time.Duration // between a stream's tokens, as they were read
	delay      []time.Duration // of each token, from the engine's write to being read
	pieces     int             // reads that brought tokens
	elapsed    time.Duration
	used       usage
}

func (s *samples) add(o samples) {
	s.total = append(s.total, o.total...)
	s.firstToken = append(s.firstToken, o.firstToken...)
	s.gap = append(s.gap, o.gap...)
	s.delay = append(s.delay, o.delay...)
	s.pieces += o.pieces
	s.elapsed += o.elapsed
	s.used = s.used.plus(o.used)
}

// addStream takes a stream's times.
func (s *samples) addStream(t *tokenTimes) {
	s.firstToken = append(s.firstToken, t.read[0].Sub(t.begun))
	s.pieces += t.pieces
	for i, read := range t.read {
		s.delay = append(s.delay, read.Sub(t.wrote[i]))
		if i > 0 {
			s.gap = append(s.gap, read.Sub(t.read[i-1]))
		}
	}
}

func (s *samples) perSecond() float64 { return float64(len(s.total)) / s.elapsed.Seconds() }

func (s *samples) sort() {
	for _, durations := range [][]time.Duration{s.total, s.firstToken, s.gap, s.delay} {
		slices.Sort(durations)
	}
}

// quantile gives the value below which the share q of sorted durations lies.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
