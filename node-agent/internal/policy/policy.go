// Package policy is what the owner of a machine allows jobs to do there beyond running in
// containers: a file that lies on the machine, is read by its node agent alone, and that no
// orchestrator can change or overrule.
package policy

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/orchion/orchion/node-agent/internal/ownfile"
)

// Limits on a policy.
const (
	maxProcesses = 256
	maxPatterns  = 256 // of one list
	maxPattern   = 1024
)

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Policy is what is allowed. The zero value allows nothing.
type Policy struct {
	Processes []Process
}

// Process is a program that jobs may run on the machine itself.
type Process struct {
	// Name is what jobs call it.
	Name string
	// Path is absolute, and the only thing that is run.
	Path string
	// WorkingDirs are folders in and below which a job may let it begin; without one it
	// begins in a folder of its own.
	WorkingDirs []string

	// anyArgs: the policy says nothing of arguments.
	anyArgs bool
	args    []*regexp.Regexp
	// env are the names of the variables that a job may set; none without it.
	env []*regexp.Regexp
}

// file is the policy as it is written.
type file struct {
	Processes []struct {
		Name        string    `yaml:"name"`
		Path        string    `yaml:"path"`
		Args        yaml.Node `yaml:"args"` // one that is left out is not one that is empty
		Env         []string  `yaml:"env"`
		WorkingDirs []string  `yaml:"workingDirs"`
	} `yaml:"processes"`
}

// Open reads a policy file and follows it as it changes. One that is not there allows
// nothing, unless it is required.
func Open(path string, required bool, logger *slog.Logger) (*ownfile.File[*Policy], error) {
	return ownfile.Open(ownfile.Config[*Policy]{
		What: "the policy file", Path: path, Required: required, Parse: Parse, Same: samePrograms, Logger: logger,
	})
}

func samePrograms(a, b *Policy) bool {
	return slices.EqualFunc(a.Processes, b.Processes, func(a, b Process) bool { return a.Name == b.Name && a.Path == b.Path })
}

// Parse reads a policy. An unknown key is an error with its line; other errors name the
// entry.
func Parse(data []byte) (*Policy, error) {
	var f file
	if err := ownfile.Decode(data, &f); err != nil {
		return nil, err
	}
	if len(f.Processes) > maxProcesses {
		return nil, fmt.Errorf("processes: has %d entries; at most %d are allowed", len(f.Processes), maxProcesses)
	}
	p := &Policy{}
	for i, entry := range f.Processes {
		at := fmt.Sprintf("processes[%d]", i)
		switch {
		case !nameRE.MatchString(entry.Name):
			return nil, fmt.Errorf("%s.name: is %q; a name is 1 to 63 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit", at, entry.Name)
		case slices.ContainsFunc(p.Processes, func(other Process) bool { return other.Name == entry.Name }):
			return nil, fmt.Errorf("%s.name: is %q, as that of an entry before it", at, entry.Name)
		}
		process := Process{Name: entry.Name, Path: entry.Path, anyArgs: entry.Args.IsZero(), WorkingDirs: entry.WorkingDirs}
		if err := checkPath(at+".path", entry.Path); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(p.Processes, func(other Process) bool { return other.Path == entry.Path }) {
			return nil, fmt.Errorf("%s.path: is %s, as that of an entry before it; one program has one entry", at, entry.Path)
		}
		for j, dir := range entry.WorkingDirs {
			if err := checkPath(fmt.Sprintf("%s.workingDirs[%d]", at, j), dir); err != nil {
				return nil, err
			}
		}
		var err error
		if !process.anyArgs {
			if process.args, err = argPatterns(at+".args", &entry.Args); err != nil {
				return nil, err
			}
		}
		if process.env, err = patterns(at+".env", entry.Env); err != nil {
			return nil, err
		}
		p.Processes = append(p.Processes, process)
	}
	return p, nil
}

func checkPath(field, path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Errorf("%s: is %q; it must be an absolute path without . and ..", field, path)
	}
	return nil
}

// argPatterns reads what arguments are allowed. A key with nothing after it is no list: it
// could be meant to allow any or none.
func argPatterns(field string, node *yaml.Node) ([]*regexp.Regexp, error) {
	var texts *[]string
	if err := node.Decode(&texts); err != nil {
		return nil, fmt.Errorf("%s: line %d: must be a list of regular expressions", field, node.Line)
	}
	if texts == nil {
		return nil, fmt.Errorf("%s: line %d: has nothing after it; write [] to allow no arguments, or leave the key out to allow any", field, node.Line)
	}
	return patterns(field, *texts)
}

// patterns compiles regular expressions that are to match whole texts.
func patterns(field string, texts []string) ([]*regexp.Regexp, error) {
	if len(texts) > maxPatterns {
		return nil, fmt.Errorf("%s: has %d entries; at most %d are allowed", field, len(texts), maxPatterns)
	}
	var compiled []*regexp.Regexp
	for i, text := range texts {
		if len(text) > maxPattern {
			return nil, fmt.Errorf("%s[%d]: has %d bytes; at most %d are allowed", field, i, len(text), maxPattern)
		}
		// Alone first: one such as "a)|(?:b" would be whole only with what is put around it.
		if _, err := regexp.Compile(text); err != nil {
			return nil, fmt.Errorf("%s[%d]: %q is no regular expression: %w", field, i, text, err)
		}
		// \A and \z rather than ^ and $: an argument may hold newlines.
		re, err := regexp.Compile(`\A(?:` + text + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %q is no regular expression: %w", field, i, text, err)
		}
		compiled = append(compiled, re)
	}
	return compiled, nil
}

// RefusalError is why the policy does not allow a process. It names the rule.
type RefusalError struct{ text string }

func (r *RefusalError) Error() string { return "this node's policy " + r.text }

func refuse(format string, args ...any) error { return &RefusalError{fmt.Sprintf(format, args...)} }

// Grant is what the policy lets a job run.
type Grant struct {
	Path string
	// WorkingDir is the one asked for without links, so that none can be put in its way.
	WorkingDir string
}

// Allow gives the program that a job wants to run, or a *RefusalError.
func (p *Policy) Allow(command string, args []string, env map[string]string, workingDir string) (Grant, error) {
	i := p.find(command)
	if i < 0 {
		if len(p.Processes) == 0 {
			return Grant{}, refuse("allows no process jobs")
		}
		names := make([]string, 0, len(p.Processes))
		for _, x := range p.Processes {
			names = append(names, x.Name)
		}
		return Grant{}, refuse("does not allow %q; it allows %s", command, strings.Join(names, ", "))
	}
	allowed := p.Processes[i]
	for n, arg := range args {
		if !allowed.anyArgs && !matches(allowed.args, arg) {
			return Grant{}, refuse("does not allow args[%d] of %s, %q: nothing in processes[%d].args matches it", n, allowed.Name, clip(arg), i)
		}
	}
	for name := range env {
		if !matches(allowed.env, name) {
			return Grant{}, refuse("does not allow the variable %s for %s: nothing in processes[%d].env matches it", clip(name), allowed.Name, i)
		}
	}
	grant := Grant{Path: allowed.Path}
	if workingDir == "" {
		return grant, nil
	}
	resolved, err := filepath.EvalSymlinks(workingDir)
	if err != nil || !filepath.IsAbs(workingDir) || !slices.ContainsFunc(allowed.WorkingDirs, func(dir string) bool { return within(dir, resolved) }) {
		return Grant{}, refuse("does not allow %s to begin in %s: it is no folder in one of processes[%d].workingDirs", allowed.Name, clip(workingDir), i)
	}
	grant.WorkingDir = resolved
	return grant, nil
}

// Names says whether the policy has an entry for a program.
func (p *Policy) Names(command string) bool { return p.find(command) >= 0 }

func (p *Policy) find(command string) int {
	return slices.IndexFunc(p.Processes, func(x Process) bool { return x.Name == command || x.Path == command })
}

func matches(patterns []*regexp.Regexp, text string) bool {
	return slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}

// within says whether a path without links is dir or below it.
func within(dir, path string) bool {
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative)
}

// clip keeps a text from filling a message.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
