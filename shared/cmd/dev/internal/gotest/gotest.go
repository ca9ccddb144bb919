// Package gotest reads what `go test -json` says and tells it shorter: a line a
// package, all of what a failed test said, and why tests were skipped.
package gotest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Summary counts tests, subtests included.
type Summary struct {
	Passed, Failed, Skipped int
	// FailedNames are packages and tests that failed, as "package.Test".
	FailedNames []string
	// SkipReasons counts the reasons that tests gave for being skipped.
	SkipReasons map[string]int
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// maxOutput bounds what is kept of one test's output, in bytes.
const maxOutput = 256 << 10

type reader struct {
	out     io.Writer
	summary Summary
	// output is what a running test, or with an empty test name a package, said.
	output map[key]*strings.Builder
	// builds is what the compiler said, by import path.
	builds map[string]*strings.Builder
}

type key struct{ pkg, test string }

// Read reads events to the end of in and reports on out as packages end. Lines
// that are no events are passed on.
func Read(in io.Reader, out io.Writer) (Summary, error) {
	r := &reader{
		out:     out,
		summary: Summary{SkipReasons: map[string]int{}},
		output:  map[key]*strings.Builder{},
		builds:  map[string]*strings.Builder{},
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		r.handle(e)
	}
	if err := lines.Err(); err != nil {
		return r.summary, fmt.Errorf("read the output of go test: %w", err)
	}
	slices.Sort(r.summary.FailedNames)
	return r.summary, nil
}

func (r *reader) handle(e event) {
	at := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		keep(r.builds, e.ImportPath, e.Output)
	case "output":
		keep(r.output, at, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageEnded(e, at)
		} else {
			r.testEnded(e, at)
		}
		delete(r.output, at)
	}
}

func keep[K comparable](all map[K]*strings.Builder, at K, text string) {
	if all[at] == nil {
		all[at] = &strings.Builder{}
	}
	if all[at].Len() < maxOutput {
		all[at].WriteString(text)
	}
}

func (r *reader) said(at key) string {
	if b := r.output[at]; b != nil {
		return b.String()
	}
	return ""
}

func (r *reader) testEnded(e event, at key) {
	switch e.Action {
	case "pass":
		r.summary.Passed++
	case "skip":
		r.summary.Skipped++
		r.summary.SkipReasons[skipReason(r.said(at))]++
	case "fail":
		r.summary.Failed++
		r.summary.FailedNames = append(r.summary.FailedNames, e.Package+"."+e.Test)
		fmt.Fprint(r.out, r.said(at))
	}
}

func (r *reader) packageEnded(e event, at key) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %s %.1fs\n", e.Package, e.Elapsed)
	case "skip": // it has no tests
	case "fail":
		if b := r.builds[e.FailedBuild]; b != nil && e.FailedBuild != "" {
			fmt.Fprint(r.out, b.String())
		}
		// Beside its tests' output this holds panics and data races.
		fmt.Fprint(r.out, r.said(at))
		// A test that ran when the package died never ends by itself.
		for running, said := range r.output {
			if running.pkg == e.Package && running.test != "" {
				r.summary.FailedNames = append(r.summary.FailedNames, running.pkg+"."+running.test)
				fmt.Fprint(r.out, said.String())
				delete(r.output, running)
			}
		}
		r.summary.FailedNames = append(r.summary.FailedNames, e.Package)
		fmt.Fprintf(r.out, "FAIL  %s %.1fs\n", e.Package, e.Elapsed)
	}
}

// skipReason finds what t.Skip was given: the line behind "file_test.go:12: ".
func skipReason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if _, reason, ok := strings.Cut(line, ".go:"); ok {
			if _, reason, ok = strings.Cut(reason, ": "); ok {
				return reason
			}
		}
	}
	return "no reason given"
}

// SkippedFor returns the reasons with any of the words in them, sorted.
func (s Summary) SkippedFor(words ...string) []string {
	var reasons []string
	for reason := range s.SkipReasons {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(reason, w) }) {
			reasons = append(reasons, reason)
		}
	}
	slices.Sort(reasons)
	return reasons
}

func (s Summary) String() string {
	text := fmt.Sprintf("%d Go tests passed, %d failed, %d skipped", s.Passed, s.Failed, s.Skipped)
	if why := s.SkippedFor(""); len(why) > 0 {
		text += ": " + strings.Join(why, "; ")
	}
	return text
}
