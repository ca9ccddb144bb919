//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// report is what came out of a run.
type report struct {
	jobs, attempts, lost, starts int
	joined                       int // of the starts: on a network that was ready
	requests                     int // answered
	faults                       map[string]int
	refusals                     map[int]int // of submissions, by status
	states                       map[orchionv1.JobState]int
	violations                   []string
	dir                          string // of the logs; kept when promises were broken
}

func (r report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d jobs acknowledged (", r.jobs)
	for i, state := range slices.Sorted(maps.Keys(r.states)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s", r.states[state], strings.ToLower(strings.TrimPrefix(state.String(), "JOB_STATE_")))
	}
	fmt.Fprintf(&b, "), %d attempts, %d of them lost, %d containers started, %d of them on networks that were ready; %d requests answered; submissions refused by status: %v; faults:", r.attempts, r.lost, r.starts, r.joined, r.requests, r.refusals)
	for _, name := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(&b, " %s %d", name, r.faults[name])
	}
	for _, v := range r.violations {
		b.WriteString("\n  BROKEN: " + v)
	}
	if len(r.violations) > 0 {
		b.WriteString("\n  logs: " + r.dir)
	}
	return b.String()
}

// readers are clients that only look.
const readers = 4

// run is one round: everything is started, broken, mended and checked. An error
// says that it could not be carried out.
func run(ctx context.Context, bin string, s settings) (r report, err error) {
	dir, err := os.MkdirTemp("", "orchion-faults-")
	if err != nil {
		return r, err
	}
	r.dir = dir
	defer func() {
		if err == nil && len(r.violations) == 0 {
			err = os.RemoveAll(dir)
		}
	}()
	release, err := ownDisk(dir)
	if err != nil {
		return r, err
	}
	defer release()
	c, err := startCluster(ctx, bin, dir, s.bug, s.machines)
	if c != nil {
		defer c.stop()
	}
	if err != nil {
		return r, err
	}
	h := newHistory()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watcher, clients sync.WaitGroup
	var watched error
	watcher.Go(func() { watched = h.watch(watching, c.grpc) })
	l := &load{c: c, history: h, limit: s.jobs, long: s.long}
	submitting := make(chan struct{})
	for i := range s.clients {
		rng := rand.New(rand.NewPCG(s.seed, uint64(100+i)))
		clients.Go(func() { l.client(ctx, i, submitting, rng) })
	}
	for i := range readers {
		rng := rand.New(rand.NewPCG(s.seed, uint64(10_000+i)))
		clients.Go(func() { l.reader(ctx, s.clients+i, submitting, rng) })
	}
	breaking, stop := context.WithTimeout(ctx, s.duration)
	defer stop()
	mending := schedule(breaking, c, h, s.faults, s.seed)
	close(submitting)
	clients.Wait()
	if mending != nil {
		h.violate(lostJob, "what was broken could not be mended: %v", mending)
	} else if jobs, err := settle(ctx, c, h, cmp.Or(s.settle, settleTime)); err != nil {
		return r, err
	} else {
		check(ctx, c, h, jobs)
		r.count(c, jobs)
	}
	stopWatching()
	watcher.Wait()
	h.checkOrder()
	r.violations, r.faults, r.refusals, r.jobs, r.requests = h.violations, h.faults, h.refusals, len(h.acked), len(h.requests)
	return r, watched
}

func (r *report) count(c *cluster, jobs map[string]*orchionv1.Job) {
	r.states = map[orchionv1.JobState]int{}
	for _, j := range jobs {
		r.states[j.GetState()]++
		r.attempts += len(j.GetAttempts())
		for _, a := range j.GetAttempts() {
			if a.GetState() == orchionv1.AttemptState_ATTEMPT_STATE_LOST {
				r.lost++
			}
		}
	}
	for _, m := range c.machines {
		r.starts += len(m.engine.Runs())
		r.joined += m.engine.Joined()
	}
}

// log reads the log of an attempt as text.
func (c *cluster) log(ctx context.Context, id string, attempt int) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/api/jobs/%s/logs?attempt=%d", c.url, id, attempt), http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(data), err
}
