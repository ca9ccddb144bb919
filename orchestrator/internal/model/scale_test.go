package model

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	spec := Spec{Engine: Ollama, MaxReplicas: 4, IdleTimeout: time.Minute} // 4 requests each
	type step struct {
		after   time.Duration
		demand  Demand
		serving int
		want    int
		next    time.Duration // from then; 0: never
	}
	for _, tt := range []struct {
		name string
		min  int
		from int
		log  []step
	}{
		{"from none at once, and back after the idle timeout", 0, 0, []step{
			{0, Demand{}, 0, 0, 0},
			{time.Second, Demand{InFlight: 9}, 0, 1, time.Minute},
			{30 * time.Second, Demand{}, 1, 1, 30 * time.Second},
			{30*time.Second - 1, Demand{}, 1, 1, 1},
			{1, Demand{}, 1, 0, 0},
		}},
		{"a request that has come and gone counts", 0, 0, []step{
			{time.Second, Demand{LastUsed: epoch.Add(time.Second)}, 0, 1, time.Minute},
			{time.Minute, Demand{LastUsed: epoch.Add(time.Second)}, 1, 0, 0},
		}},
		{"up when too much for a while, to what is needed", 1, 1, []step{
			{0, Demand{InFlight: 4}, 1, 1, 0},
			{0, Demand{InFlight: 9}, 1, 1, 2 * time.Second},
			{time.Second, Demand{InFlight: 9}, 1, 1, time.Second},
			{time.Second, Demand{InFlight: 9}, 1, 3, time.Minute},
			// The others are on their way: nothing more is asked for before they serve.
			{time.Minute, Demand{InFlight: 30}, 2, 3, time.Minute},
			{time.Second, Demand{InFlight: 30}, 3, 3, 2 * time.Second},
			{2 * time.Second, Demand{InFlight: 30}, 3, 4, time.Minute},
		}},
		{"a burst that is over changes nothing", 1, 1, []step{
			{0, Demand{InFlight: 40}, 1, 1, 2 * time.Second},
			{time.Second, Demand{InFlight: 4}, 1, 1, 0},
			{time.Second, Demand{InFlight: 40}, 1, 1, 2 * time.Second},
		}},
		{"those that wait ask for one more", 1, 1, []step{
			{0, Demand{Queued: 1, InFlight: 2}, 1, 1, 2 * time.Second},
			{2 * time.Second, Demand{Queued: 1, InFlight: 2}, 1, 2, time.Minute},
		}},
		{"down one by one as they are not needed", 1, 4, []step{
			{0, Demand{InFlight: 16}, 4, 4, time.Minute},
			{30 * time.Second, Demand{InFlight: 8}, 4, 4, 30 * time.Second},
			{30 * time.Second, Demand{InFlight: 1}, 4, 2, 30 * time.Second},
			{30 * time.Second, Demand{}, 2, 1, 0},
		}},
		{"bounded, whatever is asked for", 2, 2, []step{
			{time.Hour, Demand{}, 2, 2, 0},
			{0, Demand{InFlight: 1000, Queued: 1000}, 2, 2, 2 * time.Second},
			{2 * time.Second, Demand{InFlight: 1000, Queued: 1000}, 2, 4, time.Minute},
			{2 * time.Second, Demand{InFlight: 1000, Queued: 1000}, 4, 4, 2 * time.Second},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := spec
			spec.MinReplicas = tt.min
			var s scaling
			s.begin(tt.from, epoch)
			now := epoch
			for i, step := range tt.log {
				now = now.Add(step.after)
				want, next := s.decide(&spec, step.demand, step.serving, now)
				in := time.Duration(0)
				if !next.IsZero() {
					in = next.Sub(now)
				}
				if want != step.want || in != step.next {
					t.Errorf("step %d: wants %d, and looks again in %v; want %d, %v", i, want, in, step.want, step.next)
				}
			}
		})
	}
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestScalingStaysWithinBounds asks for anything at any time: the number stays
// within its bounds, what is in use is never given up, and it is looked at again
// whenever there is more than the least.
func TestScalingStaysWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{
			MinReplicas: rapid.IntRange(0, 3).Draw(t, "min"), TargetInFlight: rapid.IntRange(1, 5).Draw(t, "target"),
			IdleTimeout: time.Duration(rapid.IntRange(1, 100).Draw(t, "idle")) * time.Second,
		}
		spec.MaxReplicas = rapid.IntRange(max(spec.MinReplicas, 1), 6).Draw(t, "max")
		var s scaling
		s.begin(rapid.IntRange(spec.MinReplicas, spec.MaxReplicas).Draw(t, "from"), epoch)
		now := epoch
		for range 50 {
			before := s.want
			now = now.Add(time.Duration(rapid.IntRange(0, 60_000).Draw(t, "ms")) * time.Millisecond)
			d := Demand{Queued: rapid.IntRange(0, 3).Draw(t, "queued"), InFlight: rapid.IntRange(0, 40).Draw(t, "in flight")}
			want, next := s.decide(&spec, d, rapid.IntRange(0, before).Draw(t, "serving"), now)
			switch {
			case want < spec.MinReplicas || want > spec.MaxReplicas:
				t.Fatalf("wants %d", want)
			case d.InFlight+d.Queued > 0 && want == 0:
				t.Fatal("wants none while there is something to do")
			case want < before && (d.InFlight+spec.TargetInFlight-1)/spec.TargetInFlight > want:
				t.Fatalf("gives up what is in use: %d to %d with %d in flight", before, want, d.InFlight)
			case want > spec.MinReplicas && (next.IsZero() || !next.After(now)):
				t.Fatalf("wants %d and does not look again: %v", want, next)
			}
		}
	})
}
