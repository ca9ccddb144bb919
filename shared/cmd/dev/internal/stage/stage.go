// Package stage runs the stages of a check one after another, keeps going when
// one fails, and closes with one table of what came out.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Stage is one part of a check.
type Stage struct {
	// Name selects the stage on the command line.
	Name string
	// About says in a few words what it checks.
	About string
	// Run does it. An error made by Skip means that it could not be done here.
	Run func(ctx context.Context) error
}

// Outcome is how a stage came out.
type Outcome string

// The outcomes of a stage.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is one line of the closing table.
type Result struct {
	Name    string
	Outcome Outcome
	Took    time.Duration
	// Note is why it was skipped or how it failed.
	Note string
}

type partialError struct{ reason string }

func (e partialError) Error() string { return e.reason }

// Partial makes the error of a stage that passed as far as it could be done on
// this machine; the reason should say what was left out and why. A strict
// Runner counts it as failed.
func Partial(format string, args ...any) error {
	return partialError{fmt.Sprintf(format, args...)}
}

type skipError struct{ reason string }

func (e skipError) Error() string { return e.reason }

// Skip makes the error of a stage that cannot be done on this machine; the
// reason should say what is missing and how to get it.
func Skip(format string, args ...any) error {
	return skipError{fmt.Sprintf(format, args...)}
}

// IsPartial tells whether err says that a stage passed in part.
func IsPartial(err error) bool {
	var partial partialError
	return errors.As(err, &partial)
}

// IsSkip tells whether err says that a stage could not be done.
func IsSkip(err error) bool {
	var skip skipError
	return errors.As(err, &skip)
}

// Runner runs stages.
type Runner struct {
	// Out gets a header per stage and the closing table.
	Out io.Writer
	// Strict makes a skipped stage a failed one: for CI, where a check that
	// does not run must not look like one that passes.
	Strict bool
	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// Run runs the stages in order. Cancelling ctx lets the rest be skipped.
func (r Runner) Run(ctx context.Context, stages []Stage) []Result {
	now := r.Now
	if now == nil {
		now = time.Now
	}
	results := make([]Result, 0, len(stages))
	for i, s := range stages {
		fmt.Fprintf(r.Out, "\n==> [%d/%d] %s: %s\n", i+1, len(stages), s.Name, s.About)
		began := now()
		err := ctx.Err()
		if err != nil {
			err = Skip("stopped before it began")
		} else {
			err = s.Run(ctx)
		}
		result := Result{Name: s.Name, Outcome: OK, Took: now().Sub(began)}
		switch {
		case err == nil:
		case IsPartial(err) && !r.Strict:
			result.Note = "in part: " + err.Error()
		case IsSkip(err) && !r.Strict:
			result.Outcome, result.Note = Skipped, err.Error()
		case IsSkip(err) || IsPartial(err):
			result.Outcome, result.Note = Failed, "nothing may be skipped here: "+err.Error()
		default:
			result.Outcome, result.Note = Failed, err.Error()
		}
		fmt.Fprintf(r.Out, "<== %s: %s in %s\n", s.Name, result.Outcome, seconds(result.Took))
		if result.Note != "" {
			fmt.Fprintf(r.Out, "    %s\n", result.Note)
		}
		results = append(results, result)
	}
	return results
}

// Select returns the stages named in only (all when empty) less those in skip,
// in their own order. A name that does not exist is an error listing those that
// do.
func Select(stages []Stage, only, skip []string) ([]Stage, error) {
	var names []string
	for _, s := range stages {
		names = append(names, s.Name)
	}
	for flag, list := range map[string][]string{"--only": only, "--skip": skip} {
		for _, name := range list {
			if !slices.Contains(names, name) {
				return nil, fmt.Errorf("%s: no stage is called %q; there are: %s", flag, name, strings.Join(names, ", "))
			}
		}
	}
	var selected []Stage
	for _, s := range stages {
		if (len(only) == 0 || slices.Contains(only, s.Name)) && !slices.Contains(skip, s.Name) {
			selected = append(selected, s)
		}
	}
	if len(selected) == 0 {
		return nil, errors.New("--only and --skip together leave no stage")
	}
	return selected, nil
}

// WriteTable writes the closing table. Its last line counts the stages as
// "N passed, N failed", with ", N skipped" after it when there are any.
func WriteTable(out io.Writer, results []Result) {
	width := len("stage")
	for _, r := range results {
		width = max(width, len(r.Name))
	}
	fmt.Fprintf(out, "\n%-*s  %-7s  %8s  %s\n", width, "stage", "result", "time", "note")
	count := map[Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
		line := fmt.Sprintf("%-*s  %-7s  %8s  %s", width, r.Name, r.Outcome, seconds(r.Took), firstLine(r.Note))
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(out, "\n%d passed, %d failed", count[OK], count[Failed])
	if count[Skipped] > 0 {
		fmt.Fprintf(out, ", %d skipped", count[Skipped])
	}
	fmt.Fprintln(out)
}

// AnyFailed tells whether a stage failed.
func AnyFailed(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Outcome == Failed })
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		line += " ..."
	}
	return line
}
