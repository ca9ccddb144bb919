//go:build unix

package main

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// oneOrder is the invariant that all a job's clients do and see fits one order
// of events: whoever asks later never sees an earlier state.
const oneOrder = "what clients do and see of a job fits one order"

// request is what a client asked about a job.
type request struct {
	kind requestKind
	id   string
}

type requestKind int

const (
	submitted requestKind = iota
	looked
	cancelled
)

// view is what a client was answered: where the job stands.
type view struct {
	state    orchionv1.JobState
	attempts int
	// refused: the job could not be cancelled since it had ended.
	refused bool
}

func viewOf(j *orchionv1.Job) view {
	return view{state: j.GetState(), attempts: len(j.GetAttempts())}
}

// position orders the states that a job passes: each attempt is assigned, runs,
// and may be followed by the queue again.
func (v view) position() int {
	switch v.state {
	case orchionv1.JobState_JOB_STATE_ASSIGNED:
		return 4*v.attempts + 1
	case orchionv1.JobState_JOB_STATE_RUNNING:
		return 4*v.attempts + 2
	case orchionv1.JobState_JOB_STATE_QUEUED:
		return 4*v.attempts + 3
	default:
		return 1 << 30
	}
}

// standing is what must be true of a job after some requests. What happens to it
// in between is not seen and may be anything that goes forward.
type standing struct {
	there  bool
	newest view
	// cancelled: a request was accepted when the job had so many attempts; it
	// gets no more, and does not fail.
	cancelled bool
	attempts  int
}

// model is the sequential specification of one job.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byJob := map[string][]porcupine.Operation{}
			for _, op := range history {
				id := requestOf(op.Input).id
				byJob[id] = append(byJob[id], op)
			}
			parts := make([][]porcupine.Operation, 0, len(byJob))
			for _, ops := range byJob {
				parts = append(parts, ops)
			}
			return parts
		},
		Init: func() any { return standing{} },
		Step: func(state, input, output any) (bool, any) {
			s, ok := state.(standing)
			v, known := output.(view)
			if !ok || !known {
				return false, state
			}
			return s.step(requestOf(input).kind, v)
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %+v", input, output) },
	}
}

func requestOf(input any) request {
	r, _ := input.(request) // nothing else is recorded
	return r
}

func (s standing) step(kind requestKind, v view) (bool, any) {
	switch {
	case kind == submitted:
		// The answer to a submission that was repeated may tell of a job that has
		// been worked on already.
		s.there = true
	case !s.there:
		return false, s
	case v.refused:
		return !s.cancelled || ended(s.newest.state), s
	}
	if v.position() < s.newest.position() && s.newest.state != 0 {
		return false, s
	}
	if ended(s.newest.state) && v.state != s.newest.state {
		return false, s
	}
	if s.cancelled && (v.attempts > s.attempts || v.state == orchionv1.JobState_JOB_STATE_FAILED) {
		return false, s
	}
	s.newest = v
	if kind == cancelled {
		s.cancelled, s.attempts = true, v.attempts
	}
	return true, s
}

// did records a request that was answered.
func (h *history) did(client int, r request, began time.Time, v view) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, porcupine.Operation{
		ClientId: client, Input: r, Output: v, Call: int64(began.Sub(h.begin)), Return: int64(now.Sub(h.begin)),
	})
}

// checkOrder looks for the one order.
func (h *history) checkOrder() {
	h.mu.Lock()
	requests := h.requests
	h.mu.Unlock()
	m := model()
	for _, part := range m.Partition(requests) {
		if porcupine.CheckOperationsTimeout(m, part, 10*time.Second) == porcupine.Illegal {
			h.violate(oneOrder, "job %s: %s", requestOf(part[0].Input).id, describe(part))
		}
	}
}

// describe lists requests as they were answered.
func describe(part []porcupine.Operation) string {
	const most = 12
	text := ""
	for i, op := range part {
		if i == most {
			return text + fmt.Sprintf(" and %d more", len(part)-most)
		}
		text += fmt.Sprintf(" [%v..%v client %d %v %+v]", time.Duration(op.Call).Round(time.Millisecond),
			time.Duration(op.Return).Round(time.Millisecond), op.ClientId, requestOf(op.Input).kind, op.Output)
	}
	return text
}

// String names the kind of a request.
func (k requestKind) String() string { return [...]string{"submit", "look", "cancel"}[k] }
