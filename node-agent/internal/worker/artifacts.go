package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	maxArtifactName = 1024
	// maxPassedOver is how much may lie where artifacts are looked for and is not wanted: the
	// engine gives it all.
	maxPassedOver = 64 << 30
	// enginePatience is how long an engine may be out of reach before what a container left
	// is given up.
	enginePatience = time.Hour
)

// ArtifactPusher brings what attempts left to the orchestrator; see [session.Artifacts].
type ArtifactPusher interface {
	Push(ctx context.Context, ref *orchionv1.AttemptRef, source session.ArtifactSource) error
}

// keepArtifacts brings what a container left to the orchestrator before its end is told.
// Of one that failed, or ran out of time, it keeps what there is; nobody waits for what a
// cancelled one left.
func (a *attempt) keepArtifacts(spec *orchionv1.JobSpec, end *outcome) {
	wanted := spec.GetContainer().GetArtifacts()
	if len(wanted) == 0 || end.exitCode == nil || end.state == orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED {
		return
	}
	succeeded := end.state == orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	err := a.sendArtifacts(wanted, succeeded)
	switch {
	case err == nil || a.hold.Err() != nil:
	case a.sending.Err() != nil:
		end.state, end.class = orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED, 0
		end.reason = fmt.Sprintf("its container ended with exit code %d; its artifacts are not kept", *end.exitCode)
	case succeeded:
		end.state, end.class = orchionv1.AttemptState_ATTEMPT_STATE_FAILED, classify(err, orchionv1.FailureClass_FAILURE_CLASS_NODE)
		end.reason = "its artifacts could not be kept: " + err.Error()
	default:
		end.reason += "; its artifacts could not be kept: " + err.Error()
	}
}

func (a *attempt) sendArtifacts(wanted []*orchionv1.ArtifactSpec, needed bool) error {
	if a.w.cfg.Artifacts == nil {
		return classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "this node cannot send artifacts")
	}
	source := func(ctx context.Context, limits session.ArtifactLimits, emit func(*session.Artifact) error) error {
		c := &collection{
			engine: a.w.cfg.Driver, containerID: a.containerID, limits: limits, needed: needed, emit: emit,
			names: map[string]string{}, sizes: map[string]int64{},
		}
		return c.collect(ctx, wanted)
	}
	wait := time.Second
	for began := time.Now(); ; wait = min(2*wait, 10*time.Second) {
		err := a.w.cfg.Artifacts.Push(a.sending, a.key.proto(), source)
		if errors.Is(err, session.ErrRefused) {
			return refused("%w", err)
		}
		// An engine that is restarted has the container afterwards, too.
		if err == nil || !temporary(err) || time.Since(began) > enginePatience || !pause(a.sending, wait) {
			return err
		}
		a.w.cfg.Logger.Warn("copying the artifacts of an attempt failed, trying again", "job", a.key.jobID, "attempt", a.key.attempt, "error", err)
	}
}

// collection is one reading of what a container left.
type collection struct {
	engine      driver.Driver
	containerID string
	limits      session.ArtifactLimits
	needed      bool // what is not optional must be there
	emit        func(*session.Artifact) error

	names  map[string]string // paths by the names that they got
	sizes  map[string]int64  // of what was emitted, by path
	bytes  int64             // of that
	passed int64             // bytes that were not wanted
}

func (c *collection) collect(ctx context.Context, wanted []*orchionv1.ArtifactSpec) error {
	for _, spec := range wanted {
		pattern := newArtifactPattern(spec)
		found, err := c.read(ctx, &pattern)
		if err != nil && driver.CodeOf(err) != driver.CodeNoFile {
			return err
		}
		if !found && c.needed && !spec.GetOptional() {
			return refused("there is no file at %s; have the program write it, or make it optional", spec.GetPath())
		}
	}
	return nil
}

// refused is the error of what the job itself is to blame for.
func refused(format string, args ...any) error {
	return classed(orchionv1.FailureClass_FAILURE_CLASS_INVALID, format, args...)
}

// read emits what a pattern names and says whether there was any.
func (c *collection) read(ctx context.Context, pattern *artifactPattern) (found bool, err error) {
	// Another name of a file that is not wanted itself has to be asked for alone.
	var alone []string
	err = c.engine.CopyOut(ctx, c.containerID, pattern.base, func(f *driver.Copied) error {
		switch f.Kind {
		case driver.CopiedFile, driver.CopiedSame:
		default:
			return nil
		}
		if !pattern.matches(f.Path) {
			if c.passed += f.Size; c.passed > maxPassedOver {
				return refused("below %s there are more than %d bytes that are not to be kept", pattern.base, int64(maxPassedOver))
			}
			return nil
		}
		found = true
		if _, sent := c.sizes[f.SameAs]; f.Kind == driver.CopiedSame && !sent {
			alone = append(alone, f.Path)
			return nil
		}
		return c.take(pattern, f)
	})
	for _, at := range alone {
		if err != nil {
			break
		}
		err = c.engine.CopyOut(ctx, c.containerID, at, func(f *driver.Copied) error {
			if f.Kind != driver.CopiedFile || f.Path != at {
				return nil
			}
			return c.take(pattern, f)
		})
	}
	return found, err
}

// take emits one file.
func (c *collection) take(pattern *artifactPattern, f *driver.Copied) error {
	if _, sent := c.sizes[f.Path]; sent {
		return nil // an earlier pattern named it, too
	}
	size := f.Size
	if f.Kind == driver.CopiedSame {
		size = c.sizes[f.SameAs]
	}
	name := pattern.nameOf(f.Path)
	switch {
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return refused("the file %q cannot be kept: its name holds what cannot be printed", f.Path)
	case len(name) > maxArtifactName:
		return refused("the file %q cannot be kept: its name has %d bytes; at most %d are allowed", f.Path, len(name), maxArtifactName)
	case c.names[name] != "":
		return refused("%s and %s would both be called %q", c.names[name], f.Path, name)
	case size > c.limits.FileBytes:
		return refused("%s has %d bytes; an artifact may have %d, as the orchestrator's --blob-max-bytes says", f.Path, size, c.limits.FileBytes)
	case c.bytes+size > c.limits.Bytes:
		return refused("they have more than %d bytes together, as much as the orchestrator's --artifact-max-bytes allows", c.limits.Bytes)
	case len(c.names) == c.limits.Files:
		return refused("they are more than %d files", c.limits.Files)
	}
	artifact := &session.Artifact{
		Name: name, Path: f.Path, Size: size, Mode: uint32(f.Mode.Perm()), ModTime: f.ModTime, Content: f.Content,
	}
	if f.Kind == driver.CopiedSame {
		artifact.SameAs, artifact.Content = f.SameAs, nil
	}
	c.names[name], c.sizes[f.Path] = f.Path, size
	c.bytes += size
	return c.emit(artifact)
}
