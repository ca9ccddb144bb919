package routing

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestChoose(t *testing.T) {
	cases := []struct {
		name       string
		candidates []Candidate
		typical    Typical
		want       int
		why        string
	}{
		{"none", nil, Typical{}, -1, ""},
		{"all out", []Candidate{{Out: true}, {Out: true}}, Typical{}, -1, ""},
		{"the only one", []Candidate{{InFlight: 9}}, Typical{}, 0, "the only replica"},
		{
			"the least busy", []Candidate{{InFlight: 2}, {InFlight: 1}, {InFlight: 3}},
			Typical{}, 1, "the least busy of 3 replicas, with 1 requests in flight",
		},
		{
			"of equals the one chosen longest ago", []Candidate{{Chosen: 3}, {Chosen: 1}, {Chosen: 2}},
			Typical{}, 1, "the least busy of 3 replicas, with 0 requests in flight",
		},
		{
			"a fast one with work before a slow one without", []Candidate{{InFlight: 2, First: .1, Rate: 100}, {First: .5, Rate: 10}},
			Typical{Tokens: 200}, 0, "the soonest of 2 replicas, with 2 requests in flight, first token after 100 ms, 100 tokens/s",
		},
		{
			"a crowded fast one after a slow one", []Candidate{{InFlight: 60, First: .1, Rate: 100}, {First: .5, Rate: 10}},
			Typical{Tokens: 200}, 1, "the soonest of 2 replicas, with 0 requests in flight, first token after 500 ms, 10 tokens/s",
		},
		{
			"what other models of the node do counts", []Candidate{{Beside: 3}, {InFlight: 1}},
			Typical{}, 1, "the least busy of 2 replicas, with 1 requests in flight",
		},
		{
			"where the conversation was read", []Candidate{{InFlight: 2, Cached: .9, Chosen: 5}, {Chosen: 1}},
			Typical{}, 0, "it read 90 % of this conversation before of 2 replicas, with 2 requests in flight",
		},
		{
			"but not into a crowd", []Candidate{{InFlight: 4, Cached: .9}, {}},
			Typical{}, 1, "the least busy of 2 replicas, with 0 requests in flight",
		},
		{
			"warm before cold", []Candidate{{Cold: true}, {InFlight: 3}},
			Typical{}, 1, "the least busy of 2 replicas, with 3 requests in flight",
		},
		{
			"an engine that answers many at once", []Candidate{{InFlight: 3}, {InFlight: 8, AtOnce: 16}},
			Typical{}, 1, "the least busy of 2 replicas, with 8 requests in flight",
		},
		{
			"one on trial comes first", []Candidate{{}, {InFlight: 5, Probe: true}},
			Typical{}, 1, "tried again after failures of 2 replicas, with 5 requests in flight",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, points := Choose(c.candidates, c.typical)
			if got != c.want {
				t.Fatalf("chose %d with %+v, want %d", got, points, c.want)
			}
			if got < 0 {
				return
			}
			if why := c.candidates[got].why(len(c.candidates)); why != c.why {
				t.Errorf("because %q, want %q", why, c.why)
			}
		})
	}
}

// Whatever the numbers are, nothing that is out is chosen, and what is chosen is
// explained by the points: none that is not out has clearly fewer.
func TestChooseIsExplained(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Candidate {
			return Candidate{
				InFlight: rapid.IntRange(0, 100).Draw(t, "inFlight"), Beside: rapid.IntRange(0, 100).Draw(t, "beside"),
				AtOnce: rapid.IntRange(0, 64).Draw(t, "atOnce"), First: rapid.Float64Range(0, 60).Draw(t, "first"),
				Rate: rapid.Float64Range(0, 1000).Draw(t, "rate"), Cold: rapid.Bool().Draw(t, "cold"),
				Cached: rapid.Float64Range(0, 1).Draw(t, "cached"), Chosen: rapid.Uint64().Draw(t, "chosen"),
				Probe: rapid.IntRange(0, 9).Draw(t, "probe") == 0, Out: rapid.IntRange(0, 3).Draw(t, "out") == 0,
			}
		})).Draw(t, "candidates")
		typical := Typical{Tokens: rapid.Float64Range(0, 1e5).Draw(t, "tokens"), Whole: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "whole"))}
		got, points := Choose(candidates, typical)
		in := 0
		for i := range candidates {
			c := &candidates[i]
			if c.Out {
				continue
			}
			in++
			if got < 0 {
				t.Fatalf("%d could be asked, and none was chosen", i)
			}
			if candidates[got].Probe {
				continue
			}
			if c.Probe {
				t.Fatalf("%d is to be probed, and %d was chosen", i, got)
			}
			if sum := c.Points(typical).Sum(); points.Sum() > sum*alike+1e-6 {
				t.Fatalf("chose %d with %v, and %d has %v", got, points, i, c.Points(typical))
			}
		}
		if got >= 0 && (candidates[got].Out || in == 0) {
			t.Fatalf("chose %d, which is out", got)
		}
	})
}

func TestAverageForgets(t *testing.T) {
	var a average
	now := time.Unix(1000, 0)
	if got := a.blend(7, now); got != 7 {
		t.Errorf("nothing measured: %v", got)
	}
	for range 100 {
		a.add(10, now)
	}
	if got := a.blend(0, now); got != 10 {
		t.Errorf("measured: %v", got)
	}
	for range steadiness {
		a.add(20, now)
	}
	if got := a.blend(0, now); got < 15 || got > 20 {
		t.Errorf("after as many as count: %v", got)
	}
	if fresh, old := a.blend(0.5, now), a.blend(0.5, now.Add(time.Hour)); old >= fresh/2 || old < 0.5 {
		t.Errorf("fresh %v, an hour later %v, of which 0.5 is to be expected", fresh, old)
	}
}

func TestPrefixes(t *testing.T) {
	p := newPrefixes()
	anna, bert := &replica{}, &replica{}
	share := func(text string) map[*replica]float64 {
		got := map[*replica]float64{}
		of := p.of([]byte(text))
		p.cached(&of, func(r *replica, cached float64) { got[r] = max(got[r], cached) })
		return got
	}
	read := func(by *replica, text string) {
		of := p.of([]byte(text))
		p.read(&of, by)
	}
	system, question := strings.Repeat("be helpful. ", 300), strings.Repeat("why? ", 400)
	read(anna, system+question)
	if got := share(system + question + "because. and then?"); got[anna] < 0.75 || got[bert] != 0 {
		t.Errorf("the conversation's next question: %v", got[anna])
	}
	if got := share(system + "something else entirely"); got[anna] < 0.5 || got[anna] > 0.9 {
		t.Errorf("another conversation with the same system prompt: %v", got[anna])
	}
	if got := share("x" + system + question); len(got) != 0 {
		t.Errorf("another beginning: %v", got)
	}
	read(bert, system)
	if got := share(system + question); got[anna] <= got[bert] || got[bert] == 0 {
		t.Errorf("one read all (%v), one only the system prompt (%v)", got[anna], got[bert])
	}
	if got := share("short"); len(got) != 0 {
		t.Errorf("a short text: %v", got)
	}
	for i := range 4 * maxPrefixes { // others' conversations push it out
		read(bert, strings.Repeat(string(rune('a'+i%26)), 64)+strings.Repeat(string(rune('0'+i%10)), 60+i/26))
	}
	if n := len(p.recent) + len(p.old); n > 2*maxPrefixes {
		t.Errorf("%d are remembered", n)
	}
}
