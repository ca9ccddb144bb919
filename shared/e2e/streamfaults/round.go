//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// fault is what is done to an answer that waits in a phase.
type fault struct {
	name string
	// do does it, with the machine that answers. goOn lets the answer go on, and is called
	// by it when that is part of the fault.
	do func(ctx context.Context, m *machine, goOn func()) error
	// mend makes everything whole again.
	mend func(ctx context.Context, m *machine) error
	// harmless faults disturb no answer.
	harmless bool
	// elsewhere faults harm only the machine: an answer that has not begun comes from the
	// other one.
	elsewhere bool
	// passing faults are over by themselves at once.
	passing bool
	// everywhere faults harm the orchestrator, and with it the client's connection.
	everywhere bool
}

// moment is how long something stands still and nobody should mind.
const moment = 400 * time.Millisecond

func nothing(context.Context, *machine) error { return nil }

func faults() []fault {
	restartOrchestrator := func(ctx context.Context, m *machine) error { return m.c.startOrchestrator(ctx) }
	return []fault{
		{name: "engine-kill", elsewhere: true,
			do:   func(_ context.Context, m *machine, _ func()) error { m.engine.Kill(); return nil },
			mend: func(ctx context.Context, m *machine) error { return m.startEngine(ctx) }},
		{name: "engine-freeze", harmless: true, mend: nothing,
			do: func(_ context.Context, m *machine, goOn func()) error {
				thaw := m.engine.Freeze()
				goOn()
				time.Sleep(moment)
				thaw()
				return nil
			}},
		{name: "agent-kill", elsewhere: true,
			do:   func(_ context.Context, m *machine, _ func()) error { m.agent.Kill(); return nil },
			mend: func(_ context.Context, m *machine) error { return m.startAgent() }},
		{name: "agent-stop",
			do: func(_ context.Context, m *machine, goOn func()) error {
				goOn()
				return m.agent.Stop(10 * time.Second)
			},
			mend: func(_ context.Context, m *machine) error { return m.startAgent() }},
		{name: "agent-freeze", harmless: true, mend: nothing,
			do: func(_ context.Context, m *machine, goOn func()) error {
				thaw := m.agent.Freeze()
				goOn()
				time.Sleep(moment)
				thaw()
				return nil
			}},
		{name: "link-reset", elsewhere: true, passing: true, mend: nothing,
			do: func(_ context.Context, m *machine, _ func()) error { return m.way.Reset() }},
		{name: "link-pause", harmless: true, mend: nothing,
			do: func(_ context.Context, m *machine, goOn func()) error {
				release, err := m.hold()
				if err != nil {
					return err
				}
				goOn()
				time.Sleep(moment)
				release()
				return nil
			}},
		{name: "orchestrator-kill", everywhere: true, mend: restartOrchestrator,
			do: func(_ context.Context, m *machine, _ func()) error { m.c.orchestrator.Kill(); return nil }},
		{name: "orchestrator-stop", everywhere: true, mend: restartOrchestrator,
			do: func(_ context.Context, m *machine, goOn func()) error {
				goOn()
				return m.c.orchestrator.Stop(10 * time.Second)
			}},
	}
}

// Two more are not about what the client gets in the end.
const (
	clientLeaves = "client-leaves"
	linkSilent   = "link-silent"
)

func faultNames() []string {
	names := []string{clientLeaves, linkSilent}
	for _, f := range faults() {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return names
}

// silenceLimit is how long a client may wait for an answer from a machine that is cut off:
// until that is known, and for its return.
const silenceLimit = 17 * time.Second

// toldLimit is how long an engine may go on for a client that has left.
const toldLimit = 2 * time.Second

// try is one disturbed answer.
type try struct {
	fault  string
	kind   kind
	phase  phase
	pinned bool // only one machine may answer
}

func (t try) String() string {
	where := "anywhere"
	if t.pinned {
		where = "on one machine"
	}
	return fmt.Sprintf("%s while a %s answer %s is at %q", t.fault, t.kind, where, t.phase)
}

// draw draws a try.
func draw(rng *rand.Rand, names []string) try {
	t := try{fault: names[rng.IntN(len(names))], kind: []kind{streamed, streamed, small, large}[rng.IntN(4)], pinned: rng.IntN(2) == 0}
	phases := []phase{asked, head, halfWord}
	if t.kind == streamed {
		phases = append(phases, middle, unsaid, said)
	}
	t.phase = phases[rng.IntN(len(phases))]
	return t
}

// allowed says whether a client may get such an outcome.
func (t try) allowed(f fault, o outcome) bool {
	switch {
	case o == whole:
		return true
	case o == wrong || f.harmless:
		return false
	case f.elsewhere && t.phase == asked && (!t.pinned || f.passing):
		return false // the other machine answers, or the same one when it is back
	case o == broken:
		// The status was out, and no event can follow in an answer that has none.
		return f.everywhere || t.kind == large && t.phase != asked
	case o == errored:
		return t.phase != asked
	}
	return true
}

// maxTries is how often a question is asked until it waits where it is to be disturbed.
const maxTries = 5

// attempt makes a try. What it gives is what broke a promise, if anything did; an error is
// the checker's own.
func (c *cluster) attempt(ctx context.Context, t try, pinned *machine) (violation string, r result, err error) {
	labels := ""
	if t.pinned {
		labels = pinned.label()
	}
	asking, leave := context.WithCancel(ctx)
	defer leave()
	var at reached
	var answered chan result
	for tries := 1; ; tries++ {
		answered = make(chan result, 1)
		q := c.question(t.phase)
		go func() { answered <- c.ask(asking, q, t.kind, labels) }()
		var ok bool
		if at, r, ok = c.await(ctx, q.id, answered); ok {
			break
		}
		// An agent that was started anew may be known before its engine is, and the one
		// before it answered meanwhile.
		if r.outcome != refused || tries == maxTries {
			return fmt.Sprintf("the answer was there before it was disturbed: %v", r), r, nil
		}
		if err := c.allServe(ctx); err != nil {
			return err.Error(), r, nil
		}
	}
	stop := c.passOthers(ctx)
	defer stop()
	m := c.machine(at.machine)
	switch t.fault {
	case clientLeaves:
		leave()
		r = <-answered
		if err := at.left(toldLimit); err != nil {
			violation = err.Error()
		}
		at.release()
		r.outcome, r.detail = broken, "the client left"
	case linkSilent:
		violation, r, err = c.silence(t, m, at, answered)
	default:
		f := faultOf(t.fault)
		if err = f.do(ctx, m, at.release); err != nil {
			return "", r, fmt.Errorf("%s: %w", t.fault, err)
		}
		at.release()
		if r = <-answered; !t.allowed(f, r.outcome) {
			violation = fmt.Sprintf("a client got an answer that was %v", r)
		}
		err = f.mend(ctx, m)
	}
	if err != nil {
		return violation, r, err
	}
	if violation != "" {
		return violation, r, c.allServe(ctx) // so that the next try is about itself
	}
	// Whatever happened, the next question is answered, and soon by each machine.
	if next := c.ask(ctx, c.question(never), t.kind, ""); next.outcome != whole && !faultOf(t.fault).everywhere {
		return fmt.Sprintf("the next answer was %v", next), r, nil
	}
	if err := c.allServe(ctx); err != nil {
		return err.Error(), r, nil
	}
	return "", r, nil
}

// silence cuts a machine off without a word, for as long as the client waits.
func (c *cluster) silence(t try, m *machine, at reached, answered <-chan result) (violation string, r result, err error) {
	release, err := m.hold()
	if err != nil {
		return "", r, err
	}
	defer release()
	at.release()
	select {
	case r = <-answered:
		if !t.allowed(fault{elsewhere: true}, r.outcome) {
			violation = fmt.Sprintf("a client got an answer that was %v", r)
		}
	case <-time.After(silenceLimit):
		release()
		r = <-answered
		violation = fmt.Sprintf("a client waited %v for a machine that was cut off, and then its answer was %v", silenceLimit, r)
	}
	return violation, r, nil
}

func faultOf(name string) fault {
	for _, f := range faults() {
		if f.name == name {
			return f
		}
	}
	return fault{name: name}
}

// await waits until the answer is where it is to be disturbed; not ok: it ended before.
func (c *cluster) await(ctx context.Context, id string, answered <-chan result) (reached, result, bool) {
	for {
		select {
		case at := <-c.control.reached:
			if at.id == id {
				return at, result{}, true
			}
			at.release()
		case r := <-answered:
			return reached{}, r, false
		case <-ctx.Done():
			return reached{}, result{outcome: wrong, detail: ctx.Err().Error()}, false
		}
	}
}

// passOthers lets answers go on that begin a second time, on another machine.
func (c *cluster) passOthers(ctx context.Context) (stop func()) {
	passing, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case at := <-c.control.reached:
				at.release()
			case <-passing.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (c *cluster) machine(name string) *machine {
	return c.machines[slices.IndexFunc(c.machines, func(m *machine) bool { return m.name == name })]
}

// tally counts outcomes.
type tally map[string]map[outcome]int

func (t tally) add(name string, o outcome) {
	if t[name] == nil {
		t[name] = map[outcome]int{}
	}
	t[name][o]++
}

func (t tally) String() string {
	var out strings.Builder
	for _, name := range faultNames() {
		if t[name] == nil {
			continue
		}
		fmt.Fprintf(&out, "  %-18s", name)
		for _, o := range []outcome{whole, refused, errored, broken} {
			fmt.Fprintf(&out, " %4d %s", t[name][o], o)
		}
		out.WriteByte('\n')
	}
	return out.String()
}
