package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// listed are ways to ask for a page of jobs, by what they are called.
func listed() map[string]url.Values {
	return map[string]url.Values{
		"newest":                   {},
		"of a state that has none": {"state": {"JOB_STATE_RUNNING"}},
		"of a state that has all":  {"state": {"JOB_STATE_QUEUED"}},
		"of a label":               {"label": {"half=1"}},
		"of a label that is rare":  {"label": {"rare=1"}},
		"of a queue that has half": {"queue": {"even"}},
		"of a queue that is rare":  {"queue": {"rare"}},
		"of a queue, queued":       {"queue": {"rare"}, "state": {"JOB_STATE_QUEUED"}},
		"of a name that is rare":   {"name": {"rare"}},
	}
}

// measureLists asks for pages of a long history and of a short one.
func measureLists(ctx context.Context, s settings, dir string) error {
	const few = 1000
	p, err := measure.StartOrchestrator(ctx, dir, "lists")
	if err != nil {
		return err
	}
	defer p.Stop()
	if err := fill(ctx, p.GRPC, s.clients, 0, few); err != nil {
		return err
	}
	floor, err := pages(ctx, p.URL)
	if err != nil {
		return err
	}
	before := p.ResidentBytes()
	began := time.Now()
	if err := fill(ctx, p.GRPC, s.clients, few, s.history); err != nil {
		return err
	}
	measure.Fact(fmt.Sprintf("submitted/s over gRPC, durable, until %d", s.history), fmt.Sprintf("%.0f", float64(s.history-few)/time.Since(began).Seconds()))
	measure.Fact(fmt.Sprintf("memory of the orchestrator with %d queued", s.history), fmt.Sprintf("%d MiB", p.ResidentBytes()>>20))
	measure.Fact("  for each queued job", fmt.Sprintf("%d B", (p.ResidentBytes()-before)/int64(s.history)))
	got, err := pages(ctx, p.URL)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(listed())) {
		measure.Row("ms for a page of 100, "+name, got[name], floor[name], "%.2f")
	}
	return nil
}

// fill submits jobs that fit nowhere.
func fill(ctx context.Context, address string, clients, from, to int) error {
	conn, err := measure.Dial(address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to be lost
	client := orchionv1.NewJobsClient(conn)
	var next atomic.Int64
	next.Store(int64(from))
	group, ctx := errgroup.WithContext(ctx)
	for range 4 * clients {
		group.Go(func() error {
			for n := next.Add(1); n <= int64(to); n = next.Add(1) {
				request := &orchionv1.SubmitJobRequest{Labels: map[string]string{"half": fmt.Sprint(n % 2)}, Spec: noOp()}
				if n%2 == 0 {
					request.Spec.Queue = "even"
				}
				if n%100_000 == 0 {
					request.Labels["rare"] = "1"
					request.Spec.Queue, request.Name = "rare", "rare"
				}
				if _, err := client.SubmitJob(ctx, request); err != nil {
					return fmt.Errorf("submitting: %w", err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func noOp() *orchionv1.JobSpec {
	return &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: "bench"}}}
}

// pages are the milliseconds for a page, the median of some, by its name. Every
// other page is one from the middle of the list.
func pages(ctx context.Context, base string) (map[string]float64, error) {
	took := map[string]float64{}
	for name, query := range listed() {
		var times []time.Duration
		token := ""
		for range 21 {
			query.Set("pageSize", "100")
			query.Set("pageToken", token)
			answer := &orchionv1.ListJobsResponse{}
			began := time.Now()
			if err := call(ctx, http.MethodGet, base+"/api/jobs?"+query.Encode(), nil, answer); err != nil {
				return nil, err
			}
			times = append(times, time.Since(began))
			token = answer.GetNextPageToken()
		}
		took[name] = milliseconds(percentile(times, 0.5))
	}
	return took, nil
}
