package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// pages reads a whole list page by page.
func pages(t *testing.T, s store.Store, f store.JobFilter) []job.Job {
	t.Helper()
	var all []job.Job
	for range 1000 {
		page, err := s.ListJobs(t.Context(), f)
		ok(t, err)
		if len(page.Jobs) > f.Limit {
			t.Fatalf("a page holds %d jobs, want at most %d", len(page.Jobs), f.Limit)
		}
		all = append(all, page.Jobs...)
		if page.Next == "" {
			return all
		}
		f.After = page.Next
	}
	t.Fatal("the list does not end")
	return nil
}

func testList(t *testing.T, im Implementation) {
	s := open(t, im)
	if page, err := s.ListJobs(t.Context(), store.JobFilter{Limit: 1}); err != nil || len(page.Jobs) != 0 || page.Next != "" {
		t.Errorf("an empty store lists %+v, %v", page, err)
	}
	// Several jobs share one time: the id decides between them.
	var want []string
	for n := range 20 {
		j := fullJob(n)
		j.CreatedAt = epoch.Add(time.Duration(n/5) * time.Nanosecond)
		submit(t, s, j)
		want = append([]string{j.ID}, want...)
	}
	for _, limit := range []int{1, 3, 19, 20, 21, store.MaxPage} {
		same(t, fmt.Sprintf("pages of %d", limit), want, ids(pages(t, s, store.JobFilter{Limit: limit})))
	}
	page, err := s.ListJobs(t.Context(), store.JobFilter{Limit: 20})
	ok(t, err)
	if page.Next != "" {
		t.Error("the last page, being full, names a next one")
	}
	same(t, "a listed job is whole", get(t, s, want[0]), page.Jobs[0])
}

func testListFilters(t *testing.T, im Implementation) {
	s := open(t, im)
	for n := range 24 {
		j := newJob(n)
		j.CreatedAt = epoch.Add(time.Duration(n / 6)) // several at one time
		j.Name = []string{"nightly", "nightly-2", "nightly"}[n%3]
		j.Spec.Queue = []string{"", "q", "default", "Q"}[n%5%4]
		j.Labels = map[string]string{"team": []string{"blue", "red"}[n%2], "n": fmt.Sprint(n)}
		if n%3 == 0 {
			j.Labels["nightly"] = ""
		}
		submit(t, s, j)
		if n%4 == 0 {
			continue
		}
		must(t)(s.ClaimJob(t.Context(), j.ID, []string{"n1", "n2"}[n/12], epoch))
		ref := job.Ref{JobID: j.ID, Attempt: 1}
		switch n % 4 {
		case 2:
			must(t)(s.StartAttempt(t.Context(), ref, epoch))
		case 3:
			must(t)(s.CompleteAttempt(t.Context(), ref, job.End{State: []job.AttemptState{job.AttemptSucceeded, job.AttemptFailed}[n%2*(n/12)], At: epoch}))
		}
	}
	all := pages(t, s, store.JobFilter{Limit: store.MaxPage})
	for _, test := range []struct {
		states   []job.State
		node     string
		selector string
		queue    string
		name     string
	}{
		{},
		{states: []job.State{job.Queued}},
		{states: []job.State{job.Running, job.Assigned}},
		{states: []job.State{job.Succeeded, job.Failed, job.Queued, job.Queued}},
		{states: job.States()},
		{states: []job.State{job.Cancelled}},
		{node: "n1"},
		{node: "none"},
		{node: "n2", states: []job.State{job.Failed, job.Running}},
		{selector: "team=blue"},
		{selector: "team=blue,n=4"},
		{selector: "team!=blue"},
		{selector: "nightly"},
		{selector: "nightly="},
		{selector: "nightly!="},
		{selector: "missing"},
		{selector: "missing!=x"},
		{selector: "team=red,nightly,n!=9"},
		{selector: "team=red", states: []job.State{job.Running, job.Failed}},
		{selector: "nightly", node: "n2", states: []job.State{job.Assigned, job.Running, job.Failed, job.Succeeded}},
		{queue: "q"},
		{queue: "Q", selector: "team=red"},
		{queue: "default"},
		{queue: "default", states: []job.State{job.Queued}},
		{queue: "default", states: []job.State{job.Queued, job.Succeeded}},
		{queue: "none", states: []job.State{job.Running}},
		{name: "nightly"},
		{name: "night"},
		{name: "nightly-2", queue: "q", states: []job.State{job.Queued, job.Assigned, job.Running}},
		{name: "nightly", queue: "default", node: "n1", selector: "nightly"},
	} {
		selector, err := label.Parse(test.selector)
		ok(t, err)
		f := store.JobFilter{States: test.states, NodeID: test.node, Labels: selector, Queue: test.queue, Name: test.name}
		var want []string
		for _, j := range all {
			if f.Matches(j) {
				want = append(want, j.ID)
			}
		}
		for _, limit := range []int{2, 100} {
			f.Limit = limit
			same(t, fmt.Sprintf("states %v, node %q, labels %q, queue %q, name %q, pages of %d", test.states, test.node, test.selector, test.queue, test.name, limit),
				want, ids(pages(t, s, f)))
		}
	}
}

// testListWhileItGrows: jobs that come while somebody turns pages do not make
// others appear twice or not at all.
func testListWhileItGrows(t *testing.T, im Implementation) {
	s := open(t, im)
	for n := range 6 {
		submit(t, s, newJob(n))
	}
	first, err := s.ListJobs(t.Context(), store.JobFilter{Limit: 3})
	ok(t, err)
	submit(t, s, newJob(100))
	second, err := s.ListJobs(t.Context(), store.JobFilter{Limit: 3, After: first.Next})
	ok(t, err)
	same(t, "two pages with a submit in between",
		[]string{"job-0005", "job-0004", "job-0003", "job-0002", "job-0001", "job-0000"}, append(ids(first.Jobs), ids(second.Jobs)...))
}

func testListRefusals(t *testing.T, im Implementation) {
	s := open(t, im)
	for _, test := range []struct {
		filter  store.JobFilter
		message string
	}{
		{store.JobFilter{}, "pageSize: is 0; allowed are 1 to 1000"},
		{store.JobFilter{Limit: 1001}, "pageSize: is 1001; allowed are 1 to 1000"},
		{store.JobFilter{Limit: 1, States: []job.State{99}}, "state: state 99 is not a state of a job"},
		{store.JobFilter{Limit: 1, After: "%"}, "pageToken: is not a token of this list; leave it empty to begin at the newest job"},
		{store.JobFilter{Limit: 1, After: "AAAA"}, "pageToken: is not a token of this list; leave it empty to begin at the newest job"},
	} {
		_, err := s.ListJobs(t.Context(), test.filter)
		wantFault(t, err, fault.Invalid, test.message)
	}
}

func testPending(t *testing.T, im Implementation) {
	s := open(t, im)
	var want []job.Job
	for n := range 9 {
		j := submit(t, s, fullJob(n))
		ref := job.Ref{JobID: j.ID, Attempt: 1}
		if n%3 > 0 {
			j = must(t)(s.ClaimJob(t.Context(), j.ID, "n1", epoch))
		}
		if n%3 > 1 {
			j = must(t)(s.CompleteAttempt(t.Context(), ref, job.End{State: job.AttemptSucceeded, At: epoch}))
		}
		if !j.State.Ended() {
			want = append(want, j)
		}
	}
	var got []job.Job
	ok(t, s.PendingJobs(t.Context(), func(j job.Job) error { got = append(got, j); return nil }))
	same(t, "pending, oldest first", want, got)

	stop := errors.New("enough")
	calls := 0
	err := s.PendingJobs(t.Context(), func(job.Job) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("when f fails: %d calls and error %v, want one and f's own", calls, err)
	}
	// f may use the store.
	ok(t, s.PendingJobs(t.Context(), func(j job.Job) error {
		_, err := s.CancelJob(t.Context(), j.ID, "", epoch)
		return err
	}))
}

func testCount(t *testing.T, im Implementation) {
	s := open(t, im)
	counts, err := s.CountJobs(t.Context())
	ok(t, err)
	same(t, "an empty store", map[job.State]int64{}, counts)
	for n := range 5 {
		submit(t, s, newJob(n))
	}
	must(t)(s.ClaimJob(t.Context(), "job-0001", "n1", epoch))
	must(t)(s.CancelJob(t.Context(), "job-0002", "", epoch))
	must(t)(s.CancelJob(t.Context(), "job-0003", "", epoch))
	counts, err = s.CountJobs(t.Context())
	ok(t, err)
	same(t, "counts", map[job.State]int64{job.Queued: 2, job.Assigned: 1, job.Cancelled: 2}, counts)
}
