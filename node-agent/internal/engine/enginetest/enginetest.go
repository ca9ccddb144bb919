// Package enginetest is the conformance suite for implementations of [engine.Engine].
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
)

// Target is an implementation under test.
type Target struct {
	// New makes the engine, as a fresh start of the node agent does; the suite has several.
	New func(t *testing.T) engine.Engine
	// Spec and Second are replicas of two models that can be served.
	Spec, Second engine.Spec
	// Missing is a replica of a model that does not exist, and MissingCode what comes of it.
	Missing     engine.Spec
	MissingCode engine.Code
	// Pulls says that the weights are pulled with progress.
	Pulls bool
	// Driver is where the engine's containers are; nil for an engine that has none.
	Driver driver.Driver
	// NodeID is the node that the containers belong to.
	NodeID string
	// Shared says that replicas share a container.
	Shared bool
}

const timeout = 3 * time.Minute

// Run runs the suite. Nothing is left of it but volumes, which carry the node's label.
func Run(t *testing.T, target Target) {
	t.Helper()
	s := &suite{target}
	t.Cleanup(func() {
		for _, c := range s.containers(t, context.Background()) {
			if err := s.Driver.Remove(context.Background(), c.ID); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("Ensure", s.testEnsure)
	t.Run("Invalid", s.testInvalid)
	t.Run("Missing", s.testMissing)
	t.Run("Canceled", s.testCanceled)
	if target.Driver != nil {
		t.Run("Adopt", s.testAdopt)
		t.Run("Recover", s.testRecover)
		t.Run("Two", s.testTwo)
		t.Run("Prune", s.testPrune)
	}
}

type suite struct{ Target }

func (s *suite) context(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func (s *suite) containers(t *testing.T, ctx context.Context) []driver.Container {
	t.Helper()
	if s.Driver == nil {
		return nil
	}
	list, err := s.Driver.List(ctx, map[string]string{engine.LabelNode: s.NodeID})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// ensure brings a replica up, checks what was reported, and that it answers.
func (s *suite) ensure(t *testing.T, e engine.Engine, spec engine.Spec) (engine.Replica, []engine.Status) {
	t.Helper()
	ctx := s.context(t)
	var statuses []engine.Status
	replica, err := e.Ensure(ctx, spec, func(st engine.Status) { statuses = append(statuses, st) })
	if err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	checkStatuses(t, statuses)
	if body := get(t, ctx, replica.Endpoint+"/v1/models"); !strings.Contains(body, `"`+replica.Model+`"`) {
		t.Errorf("/v1/models = %s, want %q in it", body, replica.Model)
	}
	if err := e.Check(ctx, spec); err != nil {
		t.Errorf("Check: %v", err)
	}
	return replica, statuses
}

func checkStatuses(t *testing.T, statuses []engine.Status) {
	t.Helper()
	if len(statuses) == 0 || statuses[0].State != engine.StatePending {
		t.Fatalf("statuses = %+v, want PENDING first", statuses)
	}
	order := map[engine.State]int{engine.StatePending: 0, engine.StatePulling: 1, engine.StateLoading: 2, engine.StateReady: 3}
	var last engine.Status
	for _, st := range statuses {
		rank, known := order[st.State]
		if !known || rank < order[last.State] {
			t.Errorf("state %q after %q", st.State, last.State)
		}
		if st.Percent < last.Percent || st.CompletedBytes < last.CompletedBytes || st.TotalBytes < st.CompletedBytes || st.Percent > 100 {
			t.Errorf("progress from %+v to %+v", last, st)
		}
		if st.Reason == "" && st.State != engine.StateReady {
			t.Errorf("no reason in %+v", st)
		}
		last = st
	}
	if last.State != engine.StateReady || last.Percent != 100 {
		t.Errorf("last status = %+v, want READY at 100", last)
	}
}

func get(t *testing.T, ctx context.Context, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

func (s *suite) remove(t *testing.T, e engine.Engine, spec engine.Spec, opts engine.RemoveOptions) {
	t.Helper()
	if err := e.Remove(s.context(t), spec, opts); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

// wantContainers checks how many of the node's containers run.
func (s *suite) wantContainers(t *testing.T, want int) {
	t.Helper()
	if got := len(s.containers(t, s.context(t))); s.Driver != nil && got != want {
		t.Errorf("%d containers, want %d", got, want)
	}
}

func (s *suite) testEnsure(t *testing.T) {
	e := s.New(t)
	first, statuses := s.ensure(t, e, s.Spec)
	if s.Pulls {
		var pulled, between bool
		for _, st := range statuses {
			pulled = pulled || st.State == engine.StatePulling && strings.Contains(st.Reason, s.Spec.Model)
			between = between || st.State == engine.StatePulling && st.CompletedBytes > 0 && st.CompletedBytes < st.TotalBytes
		}
		if !pulled || !between {
			t.Errorf("no progress of the pull in %+v", statuses)
		}
	}
	again, statuses := s.ensure(t, e, s.Spec)
	if again != first {
		t.Errorf("ensured again, the replica is %+v, was %+v", again, first)
	}
	for _, st := range statuses {
		if st.State == engine.StatePulling {
			t.Errorf("pulled again: %+v", st)
		}
	}
	s.wantContainers(t, 1)
	for range 2 {
		s.remove(t, e, s.Spec, engine.RemoveOptions{})
	}
	s.wantContainers(t, 0)
	if s.Driver != nil {
		if err := e.Check(s.context(t), s.Spec); engine.CodeOf(err) != engine.CodeUnavailable {
			t.Errorf("Check after Remove: %v", err)
		}
	}
}

func (s *suite) testInvalid(t *testing.T) {
	e := s.New(t)
	for want, change := range map[string]func(*engine.Spec){
		"replica id:": func(spec *engine.Spec) { spec.ReplicaID = "" },
		"model:":      func(spec *engine.Spec) { spec.Model = "" },
		"image:":      func(spec *engine.Spec) { spec.Image = "Not An Image" },
	} {
		spec := s.Spec
		change(&spec)
		_, err := e.Ensure(s.context(t), spec, nil)
		if engine.CodeOf(err) != engine.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want invalid, %q", err, want)
		}
	}
	s.wantContainers(t, 0)
}

func (s *suite) testMissing(t *testing.T) {
	e := s.New(t)
	_, err := e.Ensure(s.context(t), s.Missing, nil)
	if engine.CodeOf(err) != s.MissingCode || !strings.Contains(err.Error(), s.Missing.Model) {
		t.Errorf("error = %v, want %s about %s", err, s.MissingCode, s.Missing.Model)
	}
	s.remove(t, e, s.Missing, engine.RemoveOptions{})
	s.wantContainers(t, 0)
}

func (s *suite) testCanceled(t *testing.T) {
	e := s.New(t)
	ctx, cancel := context.WithCancel(s.context(t))
	_, err := e.Ensure(ctx, s.Spec, func(engine.Status) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	s.remove(t, e, s.Spec, engine.RemoveOptions{})
	s.wantContainers(t, 0)
}

// testAdopt: a node agent that starts again finds what it left running.
func (s *suite) testAdopt(t *testing.T) {
	first, _ := s.ensure(t, s.New(t), s.Spec)
	again := s.New(t)
	second, statuses := s.ensure(t, again, s.Spec)
	if second != first {
		t.Errorf("after a restart the replica is %+v, was %+v", second, first)
	}
	for _, st := range statuses {
		if st.State == engine.StatePulling {
			t.Errorf("pulled again: %+v", st)
		}
	}
	s.wantContainers(t, 1)
	s.remove(t, again, s.Spec, engine.RemoveOptions{})
}

func (s *suite) testRecover(t *testing.T) {
	ctx := s.context(t)
	e := s.New(t)
	replica, _ := s.ensure(t, e, s.Spec)
	for name, harm := range map[string]func(context.Context, string) error{"killed": s.Driver.Kill, "removed": s.Driver.Remove} {
		if err := harm(ctx, replica.ContainerID); err != nil {
			t.Fatal(err)
		}
		if err := e.Check(ctx, s.Spec); engine.CodeOf(err) != engine.CodeUnavailable {
			t.Errorf("Check with the container %s: %v", name, err)
		}
		replica, _ = s.ensure(t, e, s.Spec)
		s.wantContainers(t, 1)
	}
	s.remove(t, e, s.Spec, engine.RemoveOptions{})
	s.wantContainers(t, 0)
}

// testTwo: replicas brought up at once, and taken away one by one.
func (s *suite) testTwo(t *testing.T) {
	ctx := s.context(t)
	e := s.New(t)
	failures := make(chan error, 2)
	for _, spec := range []engine.Spec{s.Spec, s.Second} {
		go func() {
			_, err := e.Ensure(ctx, spec, nil)
			failures <- err
		}()
	}
	for range 2 {
		if err := <-failures; err != nil {
			t.Fatalf("Ensure: %v", err)
		}
	}
	both, one := 2, 1
	if s.Shared {
		both = 1
	}
	s.wantContainers(t, both)
	s.remove(t, e, s.Spec, engine.RemoveOptions{DeleteModel: true})
	s.wantContainers(t, one)
	if err := e.Check(ctx, s.Second); err != nil {
		t.Errorf("Check of the second after the first was removed: %v", err)
	}
	// An agent that has just started knows of the others only by what it is told.
	fresh := s.New(t)
	s.remove(t, fresh, s.Spec, engine.RemoveOptions{Others: []engine.Spec{s.Second}})
	s.wantContainers(t, one)
	s.remove(t, e, s.Second, engine.RemoveOptions{})
	s.wantContainers(t, 0)
}

func (s *suite) testPrune(t *testing.T) {
	ctx := s.context(t)
	s.ensure(t, s.New(t), s.Spec)
	fresh := s.New(t)
	if err := fresh.Prune(ctx, []engine.Spec{s.Spec}); err != nil {
		t.Fatal(err)
	}
	s.wantContainers(t, 1)
	if err := fresh.Prune(ctx, nil); err != nil {
		t.Fatal(err)
	}
	s.wantContainers(t, 0)
}

// RemoveVolumes removes what the suite's engines keep for a node.
func RemoveVolumes(ctx context.Context, d driver.Driver, nodeID string) error {
	volumes, err := d.ListVolumes(ctx, map[string]string{engine.LabelNode: nodeID})
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if err := d.RemoveVolume(ctx, v.Name); err != nil {
			return fmt.Errorf("remove volume %s: %w", v.Name, err)
		}
	}
	return nil
}
