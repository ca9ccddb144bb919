package meter

import (
	"testing"
	"time"
)

func TestSpeeds(t *testing.T) {
	var r ring
	add := func(model, node string, tokens int64, status int) {
		r.add(&Call{Model: model, NodeID: node, TokensOut: tokens, Duration: time.Second, Status: status})
	}
	for range 5 {
		add("m", "old", 1000, 200)
	}
	for i := range speedCalls {
		add("m", "old", int64(10+i%2*20), 200)
	}
	add("m", "new", 40, 200)
	add("m", "new", 400, 502)
	add("m", "new", 0, 200)
	add("other", "new", 4000, 200)
	add("m", "", 70, 200)
	got := r.speeds(func(model string) bool { return model == "m" })
	if len(got) != 2 || got["old"].Calls != speedCalls || got["old"].TokensPerSecond < 19.9 || got["old"].TokensPerSecond > 20.1 || got["new"] != (Speed{40, 1}) {
		t.Errorf("got %v", got)
	}
}
