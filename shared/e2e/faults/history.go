//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// submission is a job as its client knows it.
type submission struct {
	key       string
	lines     int
	code      int32
	attempts  int32 // that may fail
	slower    bool  // later attempts take longer
	id        string
	cancelled bool // cancelling was asked for, heard or not
}

// history is all that was seen from outside.
type history struct {
	mu         sync.Mutex // guards what follows
	acked      map[string]*submission
	ids        []string                  // of acked, oldest first
	seen       map[string]*orchionv1.Job // as last told of
	violations []string
	// hurt are attempts whose containers were killed: they may fail.
	hurt   map[string]bool
	faults map[string]int
	// begin is when requests are counted from.
	begin    time.Time
	requests []porcupine.Operation
	// refusals are submissions that were answered with a status other than 200.
	refusals map[int]int
}

func newHistory() *history {
	return &history{
		acked: map[string]*submission{}, seen: map[string]*orchionv1.Job{}, hurt: map[string]bool{},
		faults: map[string]int{}, refusals: map[int]int{}, begin: time.Now(),
	}
}

func (h *history) refused(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals[status]++
}

// The invariants, each of which a planted bug must break.
const (
	lostJob        = "an acknowledged job is lost or never ends"
	secondEnd      = "a job ends once, and what has ended stays as it is"
	twoLeases      = "an attempt's number is given out once"
	wrongEnd       = "a job ends as its container did"
	sharedNetwork  = "a network that is lent is one job's"
	leftContainers = "no container is left"
	brokenLog      = "a log is complete and in order"
)

func (h *history) violate(invariant, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violateLocked(invariant, format, args...)
}

func (h *history) violateLocked(invariant, format string, args ...any) {
	text := invariant + ": " + fmt.Sprintf(format, args...)
	if !slices.Contains(h.violations, text) {
		h.violations = append(h.violations, text)
	}
}

func (h *history) acknowledge(s *submission) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.acked[s.id]; earlier != nil && earlier.key != s.key {
		h.violateLocked(secondEnd, "job %s answers the keys %s and %s", s.id, earlier.key, s.key)
	}
	h.acked[s.id] = s
	h.ids = append(h.ids, s.id)
}

func (h *history) injected(fault string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[fault]++
}

func attemptName(jobID string, number string) string { return jobID + "/" + number }

// harm notes that the containers with these labels are about to be killed.
func (h *history) harm(labels ...map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range labels {
		h.hurt[attemptName(l["orchion.job"], l["orchion.attempt"])] = true
	}
}

func ended(s orchionv1.JobState) bool { return s >= orchionv1.JobState_JOB_STATE_SUCCEEDED }

func attemptEnded(s orchionv1.AttemptState) bool {
	return s >= orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
}

// observe compares a job with what was told of it before.
func (h *history) observe(next *orchionv1.Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := next.GetId()
	prev := h.seen[id]
	h.seen[id] = next
	if prev == nil {
		return
	}
	if ended(prev.GetState()) && next.GetState() != prev.GetState() {
		h.violateLocked(secondEnd, "job %s was %v and then %v", id, prev.GetState(), next.GetState())
	}
	if len(next.GetAttempts()) < len(prev.GetAttempts()) {
		h.violateLocked(secondEnd, "job %s had %d attempts and then %d", id, len(prev.GetAttempts()), len(next.GetAttempts()))
		return
	}
	for i, before := range prev.GetAttempts() {
		after := next.GetAttempts()[i]
		if before.GetNodeId() != after.GetNodeId() || before.GetNumber() != after.GetNumber() {
			h.violateLocked(twoLeases, "attempt %d of job %s was on %s and then, as %d, on %s", before.GetNumber(), id, before.GetNodeId(), after.GetNumber(), after.GetNodeId())
		}
		if attemptEnded(before.GetState()) && after.GetState() != before.GetState() {
			h.violateLocked(secondEnd, "attempt %d of job %s was %v and then %v", before.GetNumber(), id, before.GetState(), after.GetState())
		}
	}
}

// watch observes the events of jobs until ctx is done. What it misses while the
// orchestrator is away is seen at the end.
func (h *history) watch(ctx context.Context, address string) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, MaxDelay: 500 * time.Millisecond, Multiplier: 1.5}}))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := orchionv1.NewEventsClient(conn)
	for ctx.Err() == nil {
		stream, err := client.WatchEvents(ctx, &orchionv1.WatchEventsRequest{})
		for err == nil {
			var event *orchionv1.Event
			event, err = stream.Recv()
			if err == nil && event.GetJob() != nil && event.GetType() != orchionv1.EventType_EVENT_TYPE_REMOVED {
				h.observe(event.GetJob())
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// some gives the id of a job that was acknowledged, "" while there is none.
func (h *history) some(rng *rand.Rand) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ids) == 0 {
		return ""
	}
	// Most of the time one of the newest: they change.
	recent := len(h.ids) - min(len(h.ids), 40)
	if rng.IntN(8) == 0 {
		recent = 0
	}
	return h.ids[recent+rng.IntN(len(h.ids)-recent)]
}

// acknowledged are all jobs that were acknowledged, by id.
func (h *history) acknowledged() map[string]*submission {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.acked)
}

func (h *history) wasHurt(jobID string, attempt int32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hurt[attemptName(jobID, fmt.Sprint(attempt))]
}
