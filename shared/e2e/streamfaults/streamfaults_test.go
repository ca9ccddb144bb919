//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/shared/plantedbug"
	"github.com/orchion/orchion/shared/testbed/program"
)

// TestMain is the engine, too: the checker starts its own program as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == engineCommand {
		if err := command(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func programs(t *testing.T, bugs bool) string {
	t.Helper()
	bin := t.TempDir()
	if err := program.Build(t.Context(), bin, bugs); err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestAnswersAreWholeOrErrors is the short run; go run ./shared/e2e/streamfaults --help tells
// of long ones.
func TestAnswersAreWholeOrErrors(t *testing.T) {
	t.Parallel()
	bin := programs(t, false)
	for name, s := range map[string]settings{
		"through the tunnel": {rounds: 50, readers: 4, faults: faultNames()},
		"directly":           {rounds: 25, readers: 4, faults: faultNames(), direct: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			s.seed = uint64(time.Now().UnixNano())
			r, err := run(t.Context(), bin, s)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("seed %d: %v", s.seed, r)
			if len(r.violations) > 0 {
				t.Errorf("promises were broken; the same schedule again: go run ./shared/e2e/streamfaults --seed %d --rounds %d --direct=%t", s.seed, s.rounds, s.direct)
			}
			if r.readWhole < r.rounds {
				t.Errorf("%d undisturbed answers are too few to say anything", r.readWhole)
			}
		})
	}
}

// TestPlantedBugIsFound has the gateway end answers that broke off as if they were whole.
func TestPlantedBugIsFound(t *testing.T) {
	t.Parallel()
	s := settings{seed: 1, rounds: 40, faults: []string{"engine-kill", "link-reset"}, bug: plantedbug.LooksWhole}
	r, err := run(t.Context(), programs(t, true), s)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.String(), "without saying so") {
		t.Errorf("the bug was not found: %v", r)
	}
}

func TestJudgeStream(t *testing.T) {
	t.Parallel()
	event := func(id string, n int) string {
		return fmt.Sprintf(`data: {"choices":[{"delta":{"content":%q}}]}`+"\n\n", tokenOf(id, n))
	}
	var all strings.Builder
	for n := range streamTokens {
		all.WriteString(event("q1", n))
	}
	failed := `data: {"error":{"message":"the engine broke off"}}` + "\n\n"
	for name, c := range map[string]struct {
		body string
		want outcome
	}{
		"whole":                     {all.String() + "data: [DONE]\n\n", whole},
		"comments are nothing":      {": hello\n\n" + all.String() + "data: [DONE]\n\n", whole},
		"an error at once":          {failed, errored},
		"an error in the middle":    {event("q1", 0) + failed, errored},
		"half an event, an error":   {event("q1", 0) + "data: {\"cho\n\n" + failed, errored},
		"nothing":                   {"", wrong},
		"no end":                    {all.String(), wrong},
		"too short":                 {event("q1", 0) + "data: [DONE]\n\n", wrong},
		"half an event":             {event("q1", 0) + `data: {"cho`, wrong},
		"another's":                 {event("q1", 0) + event("q2", 1) + failed, wrong},
		"out of order":              {event("q1", 1) + event("q1", 0) + failed, wrong},
		"something after the end":   {all.String() + "data: [DONE]\n\n" + failed, wrong},
		"something after the error": {failed + event("q1", 0), wrong},
		"no event":                  {"<html>\n", wrong},
	} {
		if got, detail, err := judgeStream("q1", strings.NewReader(c.body)); got != c.want || err != nil {
			t.Errorf("%s: %s (%s), %v, want %s", name, got, detail, err, c.want)
		}
	}
}

func TestJudgePlain(t *testing.T) {
	t.Parallel()
	q := question{id: "q1", size: 100}
	if got, detail := judgePlain(q, fmt.Appendf(nil, `{"choices":[{"message":{"content":%q}}]}`, plainOf("q1", 100))); got != whole {
		t.Errorf("a whole answer is %s: %s", got, detail)
	}
	for _, body := range []string{"", "{", `{"choices":[]}`, `{"choices":[{"message":{"content":"q1 "}}]}`, fmt.Sprintf(`{"choices":[{"message":{"content":%q}}]}`, plainOf("q2", 100))} {
		if got, _ := judgePlain(q, []byte(body)); got != wrong {
			t.Errorf("%.40q is %s", body, got)
		}
	}
	if got, _ := judgeRefusal(502, []byte(`{"error":{"message":"no"}}`)); got != refused {
		t.Errorf("an error is %s", got)
	}
	for status, body := range map[int]string{502: "<html>", 302: `{"error":{"message":"no"}}`, 500: `{}`} {
		if got, _ := judgeRefusal(status, []byte(body)); got != wrong {
			t.Errorf("%d %s is %s", status, body, got)
		}
	}
}
