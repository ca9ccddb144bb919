package model

import (
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	number := func(n int) *int { return &n }
	cases := []struct {
		spec             Spec
		inFlight, queued *int
		given, wait      int
		wrong            string
	}{
		{spec: Spec{Engine: Ollama}, given: 8, wait: 256},
		{spec: Spec{Engine: Ollama, TargetInFlight: 10}, given: 20, wait: 256},
		{spec: Spec{Engine: Ollama, TargetInFlight: 10}, inFlight: number(3), queued: number(0), given: 3},
		{spec: Spec{Engine: Ollama, Ollama: &OllamaSettings{NumParallel: 2}}, given: 4, wait: 256},
		{spec: Spec{Engine: VLLM}, given: 256, wait: 256},
		{spec: Spec{Engine: External}},
		{spec: Spec{Engine: External}, inFlight: number(2), queued: number(5), given: 2, wait: 5},
		{inFlight: number(0), wrong: "spec.maxInFlight: is 0; 1 to 100000 are allowed"},
		{inFlight: number(100_001), wrong: "spec.maxInFlight: is 100001; 1 to 100000 are allowed"},
		{queued: number(-1), wrong: "spec.maxQueued: is -1; 0 to 100000 are allowed"},
	}
	for _, c := range cases {
		before := digestOf(&c.spec)
		if err := c.spec.Limit(c.inFlight, c.queued); err != nil || c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) || c.wrong == "" {
				t.Errorf("%+v: %v, want %q", c.spec, err, c.wrong)
			}
			continue
		}
		if given, wait := c.spec.maxInFlight(), c.spec.maxQueued(); given != c.given || wait != c.wait {
			t.Errorf("%+v: %d are given and %d wait, want %d and %d", c.spec, given, wait, c.given, c.wait)
		}
		if digestOf(&c.spec) != before {
			t.Errorf("%+v: its replicas are out of date", c.spec)
		}
	}
}
