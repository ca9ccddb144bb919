package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

const (
	// silence is how long a node may be silent while replacements are measured, and
	// lease how long a job runs on; in the proportion that they have by default.
	silence, lease = 6 * time.Second, 4 * time.Second
	// losses is how many jobs lose their machine in each of two ways, one after the
	// other.
	losses = 4
	// fleet is how many machines there are: a pair for each loss, and some more,
	// since more than half that are lost within a minute would be taken for a fault
	// of the network, and nothing be replaced.
	fleet = 2*2*losses + 2
	// quiet is how long nothing is done before the floor is measured, so that what
	// ended before has been put away.
	quiet = 2 * time.Second
)

// measureReplacement kills the machine of a running job, again and again, and sees
// how long that takes to be known, and how long from then to the first
// instruction of the job's container on the other machine: on one that has run a
// job before, and so has a network ready, and on one for which it is the first.
// The floor is the engine's own command for the same image, when nothing else is
// done.
func measureReplacement(ctx context.Context, _ settings, dir string) error {
	const what = "ms from then to a job's container elsewhere"
	e, client, err := engineToStartOn(ctx, dir)
	if err != nil {
		return unmeasured(what, err)
	}
	defer e.Close()
	p, err := measure.StartOrchestrator(ctx, dir, "replace", "--heartbeat-timeout", silence.String(), "--lease-ttl", lease.String())
	if err != nil {
		return err
	}
	defer p.Stop()
	m := machines{e: e, running: make(map[string]*measure.Process)}
	defer m.stop()
	for i := range fleet {
		name := machine(i)
		if m.running[name], err = startAgent(dir, name, p, e); err != nil {
			return err
		}
	}
	var found, later, first, floor []time.Duration
	for i := range 2 * losses {
		pair, fresh := "node in ("+machine(2*i)+","+machine(2*i+1)+")", i%2 == 1
		for n := 2 * i; n < 2*i+2 && !fresh; n++ {
			if _, err := startJob(ctx, p.URL, "node="+machine(n)); err != nil {
				return err
			}
		}
		if err := idle(ctx, quiet); err != nil {
			return err
		}
		bare, err := startBare(ctx, client, e.Host)
		if err != nil {
			return err
		}
		loss, err := loseOne(ctx, p.URL, &m, pair)
		if err != nil {
			return err
		}
		found, floor = append(found, loss.found), append(floor, bare)
		if fresh {
			first = append(first, loss.replaced)
		} else {
			later = append(later, loss.replaced)
		}
	}
	measure.Row("ms from a machine's end until its jobs are free, beside --heartbeat-timeout, longest", milliseconds(percentile(found, 1)), milliseconds(silence), "%.0f")
	for _, of := range []struct {
		what  string
		times []time.Duration
	}{{"", later}, {", its first", first}} {
		measure.Row(what+of.what+", p50", milliseconds(percentile(of.times, 0.5)), milliseconds(percentile(floor, 0.5)), "%.0f")
		measure.Row("  longest", milliseconds(percentile(of.times, 1)), milliseconds(percentile(floor, 1)), "%.0f")
	}
	return nil
}

// machine is the name of the machine with this number.
func machine(i int) string { return fmt.Sprintf("machine-%d", i) }

func idle(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// machines are node agents on one engine, by the ids of their nodes.
type machines struct {
	e       *engine.Engine
	running map[string]*measure.Process
}

func (m *machines) stop() {
	for _, agent := range m.running {
		if agent != nil {
			agent.Stop()
		}
	}
}

// loss is what came of a machine's end: how long it took until that was known,
// and from then until its job began elsewhere.
type loss struct{ found, replaced time.Duration }

// loseOne has a job begin on a machine that meets the constraint, and ends that.
func loseOne(ctx context.Context, url string, m *machines, constraint string) (loss, error) {
	submitted, err := submitStarted(ctx, url, []string{constraint}, "stay")
	if err != nil {
		return loss{}, err
	}
	job := &orchionv1.Job{}
	reaches := func(state orchionv1.JobState) error {
		return until(ctx, func() (bool, error) {
			err := call(ctx, http.MethodGet, url+"/api/jobs/"+submitted.GetId(), nil, job)
			return job.GetState() == state, err
		})
	}
	if err := reaches(orchionv1.JobState_JOB_STATE_RUNNING); err != nil {
		return loss{}, err
	}
	name := job.GetAttempts()[0].GetNodeId()
	m.running[name].Kill()
	delete(m.running, name)
	killed := time.Now()
	for _, label := range []string{"orchion.node", "orchion.network.node"} {
		if err := m.e.RemoveContainers(ctx, label+"="+name); err != nil {
			return loss{}, err
		}
	}
	if err := reaches(orchionv1.JobState_JOB_STATE_SUCCEEDED); err != nil {
		return loss{}, err
	}
	lost := job.GetAttempts()[0].GetFinishedAt().AsTime()
	replaced, err := since(lost, job.GetResult().GetOutput())
	return loss{found: lost.Sub(killed), replaced: replaced}, err
}
