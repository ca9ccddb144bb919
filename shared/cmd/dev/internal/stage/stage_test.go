package stage

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// clock gives each stage a second.
func clock() func() time.Time {
	at := time.Unix(0, 0)
	return func() time.Time {
		at = at.Add(time.Second)
		return at
	}
}

func stages(ran *[]string) []Stage {
	returning := func(name string, err error) Stage {
		return Stage{Name: name, About: "about " + name, Run: func(context.Context) error {
			*ran = append(*ran, name)
			return err
		}}
	}
	return []Stage{
		returning("good", nil),
		returning("bad", errors.New("3 tests failed\nTestThis")),
		returning("absent", Skip("no %s here", "docker")),
		returning("last", Partial("4 tests skipped")),
	}
}

func TestRunGoesOnAndTableTells(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		strict bool
		want   string
	}{
		"local": {false, `
stage   result       time  note
good    ok           1.0s
bad     failed       1.0s  3 tests failed ...
absent  skipped      1.0s  no docker here
last    ok           1.0s  in part: 4 tests skipped

2 passed, 1 failed, 1 skipped
`},
		"strict": {true, `
stage   result       time  note
good    ok           1.0s
bad     failed       1.0s  3 tests failed ...
absent  failed       1.0s  nothing may be skipped here: no docker here
last    failed       1.0s  nothing may be skipped here: 4 tests skipped

1 passed, 3 failed
`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ran []string
			var log, table bytes.Buffer
			results := Runner{Out: &log, Strict: tc.strict, Now: clock()}.Run(t.Context(), stages(&ran))
			WriteTable(&table, results)
			if table.String() != tc.want {
				t.Errorf("table:\n%s\nwant:\n%s", table.String(), tc.want)
			}
			if got := strings.Join(ran, " "); got != "good bad absent last" {
				t.Errorf("ran %q, want all four", got)
			}
			if !strings.Contains(log.String(), "==> [2/4] bad: about bad\n<== bad: failed in 1.0s\n    3 tests failed\nTestThis") {
				t.Errorf("log lacks the header and the whole failure:\n%s", log.String())
			}
			if !AnyFailed(results) {
				t.Error("AnyFailed() = false")
			}
		})
	}
}

func TestCancelledRunSkipsTheRest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var ran []string
	all := stages(&ran)
	all[0].Run = func(context.Context) error { cancel(); return nil }
	results := Runner{Out: &bytes.Buffer{}, Now: clock()}.Run(ctx, all)
	if len(ran) != 0 || results[3].Outcome != Skipped {
		t.Errorf("after the cancel ran %q, last %+v; want nothing and a skip", ran, results[3])
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		only, skip []string
		want, err  string
	}{
		"all":       {nil, nil, "good bad absent last", ""},
		"only":      {[]string{"last", "good"}, nil, "good last", ""},
		"skip":      {nil, []string{"bad"}, "good absent last", ""},
		"both":      {[]string{"bad", "good"}, []string{"bad"}, "good", ""},
		"none left": {[]string{"bad"}, []string{"bad"}, "", "--only and --skip together leave no stage"},
		"unknown":   {[]string{"lint"}, nil, "", `--only: no stage is called "lint"; there are: good, bad, absent, last`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			selected, err := Select(stages(new([]string)), tc.only, tc.skip)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("Select() = %v, want %q", err, tc.err)
				}
				return
			}
			var names []string
			for _, s := range selected {
				names = append(names, s.Name)
			}
			if got := strings.Join(names, " "); err != nil || got != tc.want {
				t.Errorf("Select() = %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}
