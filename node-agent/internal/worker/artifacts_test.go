package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// archive is who takes artifacts.
type archive struct {
	limits session.ArtifactLimits
	fails  []error       // of the next calls
	hold   chan struct{} // when not nil, they are taken only once it is closed
	kept   map[string]string
	calls  int
}

func (s *archive) Push(ctx context.Context, ref *orchionv1.AttemptRef, source session.ArtifactSource) error {
	s.calls++
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		return err
	}
	kept := map[string]string{}
	err := source(ctx, s.limits, func(a *session.Artifact) error {
		content := []byte("same as " + a.SameAs)
		if a.SameAs == "" {
			var err error
			if content, err = io.ReadAll(a.Content); err != nil {
				return err
			}
		}
		kept[a.Name] = fmt.Sprintf("%s %o %s", a.Path, a.Mode, content)
		return nil
	})
	if err != nil {
		return err
	}
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.kept = kept
	return nil
}

// leavingBed is a bed with a program that leaves files PATH, PATH, ... and ends with the
// code, or with "wait" waits to be stopped.
func leavingBed(t *testing.T) (*bed, *archive) {
	t.Helper()
	engine := fake.New(fake.Options{Programs: map[string]fake.Program{"/leave": func(p *fake.Process) int {
		args := p.Args()
		for _, name := range args[1:] {
			if err := p.WriteFile(name, []byte("in "+name), 0o640); err != nil {
				return 99
			}
		}
		if args[0] == "wait" {
			p.Sleep(time.Hour)
			return 143
		}
		return len(args[0]) // "" is 0
	}}})
	engine.AddImage("leave:1", fake.Image{Entrypoint: []string{"/leave"}})
	b := newBed(t, nil)
	if err := b.engine.Close(); err != nil {
		t.Fatal(err)
	}
	far := &archive{limits: session.ArtifactLimits{FileBytes: 100, Bytes: 200, Files: 10}}
	b.engine, b.cfg.Driver, b.cfg.Artifacts = engine, engine, far
	b.restart()
	return b, far
}

// leaving is a job that is to keep artifacts.
func leaving(id string, args []string, wanted ...*orchionv1.ArtifactSpec) *orchionv1.JobAssignment {
	job := container(id, "leave:1", args...)
	job.Spec.GetContainer().Artifacts = wanted
	return job
}

func TestArtifacts(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		wanted []*orchionv1.ArtifactSpec
		end    string
		reason string
		kept   string
	}{
		"some": {
			[]string{"", "/out/a", "/out/deep/b", "/other/c", "/other/d"},
			[]*orchionv1.ArtifactSpec{{Path: "/out/**"}, {Path: "/other/c", Name: "see"}, {Path: "/none", Optional: true}, {Path: "/out/a"}},
			"SUCCEEDED UNSPECIFIED", "",
			"map[out/a:/out/a 640 in /out/a out/deep/b:/out/deep/b 640 in /out/deep/b see:/other/c 640 in /other/c]",
		},
		"one is missing": {
			[]string{"", "/out/a"}, []*orchionv1.ArtifactSpec{{Path: "/out/a"}, {Path: "/out/b"}}, "FAILED INVALID",
			"its artifacts could not be kept: there is no file at /out/b; have the program write it, or make it optional", "map[]",
		},
		"nothing matches": {
			[]string{"", "/out/a"}, []*orchionv1.ArtifactSpec{{Path: "/out/*.csv"}}, "FAILED INVALID",
			"its artifacts could not be kept: there is no file at /out/*.csv; have the program write it, or make it optional", "map[]",
		},
		"it failed": {
			[]string{"123", "/out/a"}, []*orchionv1.ArtifactSpec{{Path: "/out/a"}, {Path: "/out/b"}}, "FAILED EXIT_CODE",
			"the container ended with exit code 3", "map[out/a:/out/a 640 in /out/a]",
		},
		"one name for two": {
			[]string{"", "/out/a", "/out/b"}, []*orchionv1.ArtifactSpec{{Path: "/out/a", Name: "x"}, {Path: "/out/b", Name: "x"}}, "FAILED INVALID",
			`its artifacts could not be kept: /out/a and /out/b would both be called "x"`, "map[]",
		},
		"a bad name": {
			[]string{"", "/out/a\nb"}, []*orchionv1.ArtifactSpec{{Path: "/out"}}, "FAILED INVALID",
			`its artifacts could not be kept: the file "/out/a\nb" cannot be kept: its name holds what cannot be printed`, "map[]",
		},
		"a long name": {
			[]string{"", "/out/" + strings.Repeat("x", 1100)}, []*orchionv1.ArtifactSpec{{Path: "/out"}}, "FAILED INVALID",
			"its name has 1104 bytes; at most 1024 are allowed", "map[]",
		},
		"too many": {
			[]string{"", "/o/1", "/o/2", "/o/3", "/o/4", "/o/5", "/o/6", "/o/7", "/o/8", "/o/9", "/o/10", "/o/11"},
			[]*orchionv1.ArtifactSpec{{Path: "/o"}}, "FAILED INVALID", "its artifacts could not be kept: they are more than 10 files", "map[]",
		},
		"one too large": {
			[]string{"", "/" + strings.Repeat("x", 120)}, []*orchionv1.ArtifactSpec{{Path: "/" + strings.Repeat("x", 120)}}, "FAILED INVALID",
			" has 124 bytes; an artifact may have 100, as the orchestrator's --blob-max-bytes says", "map[]",
		},
		"too large together": {
			[]string{"1", "/o/" + strings.Repeat("x", 80), "/o/" + strings.Repeat("y", 80), "/o/" + strings.Repeat("z", 80)},
			[]*orchionv1.ArtifactSpec{{Path: "/o"}}, "FAILED EXIT_CODE",
			"the container ended with exit code 1; its artifacts could not be kept: they have more than 200 bytes together, as much as the orchestrator's --artifact-max-bytes allows", "map[]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, far := leavingBed(t)
				defer b.close()
				b.assign(leaving("a", tt.args, tt.wanted...))
				b.live(time.Second)
				end := b.far.last("a")
				if got := stateAndClass(end); got != tt.end || !strings.Contains(end.GetReason(), tt.reason) || end.ExitCode == nil {
					t.Errorf("end = %s with %q, want %s with %q", got, end.GetReason(), tt.end, tt.reason)
				}
				if got := fmt.Sprint(far.kept); got != tt.kept {
					t.Errorf("kept %s, want %s", got, tt.kept)
				}
			})
		})
	}
}

func stateAndClass(s *orchionv1.AttemptStatus) string {
	return strings.TrimPrefix(s.GetState().String(), "ATTEMPT_STATE_") + " " + strings.TrimPrefix(s.GetFailure().String(), "FAILURE_CLASS_")
}

// The end is told only once what the container left is kept; until then the lease is
// renewed, and an agent that is restarted goes on.
func TestArtifactsAreKeptBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, far := leavingBed(t)
		defer b.close()
		far.hold = make(chan struct{})
		b.assign(leaving("a", []string{"", "/out/a"}, &orchionv1.ArtifactSpec{Path: "/out/a"}))
		b.live(10 * ttl)
		if got := stateAndClass(b.far.last("a")); got != "RUNNING UNSPECIFIED" || len(b.Leases()) != 1 {
			t.Errorf("while they are sent: %s, %d leases", got, len(b.Leases()))
		}
		b.restart()
		b.assign(leaving("a", []string{"", "/out/a"}, &orchionv1.ArtifactSpec{Path: "/out/a"}))
		b.live(time.Second)
		if got := stateAndClass(b.far.last("a")); got != "RUNNING UNSPECIFIED" || far.calls != 2 {
			t.Errorf("after a restart: %s after %d calls", got, far.calls)
		}
		close(far.hold)
		b.live(time.Second)
		if got := stateAndClass(b.far.last("a")); got != "SUCCEEDED UNSPECIFIED" || len(far.kept) != 1 {
			t.Errorf("in the end: %s, kept %v", got, far.kept)
		}
	})
}

// A job that is cancelled while what it left is sent ends at once; one that is cancelled
// before leaves nothing, and one that ran out of time leaves what there is.
func TestArtifactsOfStoppedJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, far := leavingBed(t)
		defer b.close()
		far.hold = make(chan struct{})
		wanted := &orchionv1.ArtifactSpec{Path: "/out/a"}
		b.assign(leaving("a", []string{"", "/out/a"}, wanted))
		b.live(time.Second)
		b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("a")})
		b.live(time.Second)
		b.wantEnd("a", "CANCELLED", "its container ended with exit code 0; its artifacts are not kept")

		close(far.hold)
		calls := far.calls
		b.assign(leaving("b", []string{"wait", "/out/a"}, wanted))
		b.live(time.Second)
		b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("b")})
		b.live(time.Minute)
		b.wantEnd("b", "CANCELLED", "exit code")
		if far.calls != calls {
			t.Error("something was kept of a job that was cancelled")
		}
		job := leaving("c", []string{"wait", "/out/a"}, wanted)
		job.Spec.Timeout = durationpb.New(5 * time.Second)
		b.assign(job)
		b.live(time.Minute)
		b.wantEnd("c", "FAILED TIMEOUT", "timed out after 5s")
		if got := fmt.Sprint(far.kept); got != "map[out/a:/out/a 640 in /out/a]" {
			t.Errorf("kept %s", got)
		}
	})
}

// What can get better is tried again; what cannot is no fault of the job, unless the
// orchestrator says so.
func TestArtifactsThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, far := leavingBed(t)
		defer b.close()
		wanted := &orchionv1.ArtifactSpec{Path: "/out/a"}
		far.fails = []error{unavailable, unavailable, unavailable, unavailable, unavailable, unavailable}
		b.assign(leaving("a", []string{"", "/out/a"}, wanted))
		b.live(2 * time.Minute)
		b.wantEnd("a", "SUCCEEDED", "")
		far.fails = []error{errors.New("no room for an hour")}
		b.assign(leaving("b", []string{"", "/out/a"}, wanted))
		b.live(time.Second)
		b.wantEnd("b", "FAILED NODE", "its artifacts could not be kept: no room for an hour")
		far.fails = []error{fmt.Errorf("%w: too long", session.ErrRefused)}
		b.assign(leaving("c", []string{"", "/out/a"}, wanted))
		b.live(time.Second)
		b.wantEnd("c", "FAILED INVALID", "its artifacts could not be kept: the orchestrator refuses it: too long")
		b.cfg.Artifacts = nil
		b.restart()
		b.assign(leaving("d", []string{"", "/out/a"}, wanted))
		b.live(time.Second)
		b.wantEnd("d", "FAILED NODE", "its artifacts could not be kept: this node cannot send artifacts")
	})
}

var unavailable = &driver.Error{Code: driver.CodeUnavailable, Op: "copy", Err: errors.New("the engine is away")}
