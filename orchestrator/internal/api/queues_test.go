package api

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
)

// queueAnswer is what tests read of a queue.
type queueAnswer struct {
	Name                string
	Weight, MaxRunning  int
	Paused              bool
	Queued, Running     string
	Queues              []queueAnswer
	NextPageToken, Code string
}

func TestQueues(t *testing.T) {
	h := newHarness(t, settings{})
	read := func(method, path, body string) (q queueAnswer) {
		t.Helper()
		a := h.call(t, method, path, body)
		if a.status != http.StatusOK {
			t.Fatalf("%s %s answers %d %s", method, path, a.status, a.body)
		}
		a.decode(t, &q)
		return q
	}
	if list := read("GET", "/api/queues", ""); len(list.Queues) != 1 || list.Queues[0].Name != "default" || list.Queues[0].Weight != 1 {
		t.Errorf("an idle orchestrator lists %+v, want the default queue", list)
	}
	id := h.submit(t, `{"spec":{"container":{"image":"alpine"},"queue":"night"}}`)
	var j struct {
		Spec   struct{ Queue string }
		Reason string
	}
	h.call(t, "GET", "/api/jobs/"+h.submit(t, goodJob), "").decode(t, &j)
	if j.Spec.Queue != "default" {
		t.Errorf("a job that names no queue is in %q", j.Spec.Queue)
	}
	if q := read("GET", "/api/queues/night", ""); q.Queued != "1" || q.Running != "0" || q.Weight != 1 {
		t.Errorf("a queue by use is %+v", q)
	}
	if q := read("PUT", "/api/queues/night", `{"weight":3,"maxRunning":2}`); q.Weight != 3 || q.MaxRunning != 2 || q.Paused {
		t.Errorf("after PUT the queue is %+v", q)
	}
	if q := read("PATCH", "/api/queues/night", `{"paused":true}`); q.Weight != 3 || q.MaxRunning != 2 || !q.Paused || q.Queued != "1" {
		t.Errorf("after PATCH the queue is %+v", q)
	}
	h.call(t, "GET", "/api/jobs/"+id, "").decode(t, &j)
	if j.Reason != "the queue night is paused" {
		t.Errorf("the reason of its job is %q", j.Reason)
	}
	page := read("GET", "/api/queues?pageSize=1", "")
	if len(page.Queues) != 1 || page.Queues[0].Name != "default" {
		t.Fatalf("the first page is %+v", page)
	}
	if page = read("GET", "/api/queues?pageToken="+page.NextPageToken, ""); len(page.Queues) != 1 || page.Queues[0].Name != "night" || page.NextPageToken != "" {
		t.Errorf("the second page is %+v", page)
	}
	if a := h.call(t, "DELETE", "/api/queues/night", ""); a.status != http.StatusOK {
		t.Errorf("DELETE answers %d %s", a.status, a.body)
	}
	if q := read("GET", "/api/queues/night", ""); q.Weight != 1 || q.MaxRunning != 0 || q.Paused {
		t.Errorf("after DELETE the queue is %+v", q)
	}
	if q := read("PUT", "/api/queues/empty", `{}`); q.Weight != 1 || q.Queued != "0" {
		t.Errorf("a queue with settings and without jobs is %+v", q)
	}

	const invalid = http.StatusBadRequest
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code               codes.Code
		want               string
	}{
		"unknown":       {"GET", "/api/queues/none", "", http.StatusNotFound, codes.NotFound, `there is no queue "none": no job is in it and nothing is set for it`},
		"nothing set":   {"DELETE", "/api/queues/night", "", http.StatusNotFound, codes.NotFound, `nothing is set for a queue "night"`},
		"name":          {"PUT", "/api/queues/-x", `{}`, invalid, codes.InvalidArgument, `name: is "-x"; the name of a queue is 1 to 63 characters of A-Z a-z 0-9 . _ -`},
		"weight":        {"PUT", "/api/queues/x", `{"weight":1001}`, invalid, codes.InvalidArgument, "weight: is 1001; it must be between 1 and 1000"},
		"weight zero":   {"PATCH", "/api/queues/x", `{"weight":0}`, invalid, codes.InvalidArgument, "weight: is 0; it must be between 1 and 1000"},
		"limit":         {"PATCH", "/api/queues/x", `{"maxRunning":-1}`, invalid, codes.InvalidArgument, "maxRunning: is -1; it must be between 0, for no limit, and 1000000"},
		"unknown field": {"PUT", "/api/queues/x", `{"speed":1}`, invalid, codes.InvalidArgument, "speed"},
		"job's queue":   {"POST", "/api/jobs", `{"spec":{"container":{"image":"a"},"queue":"a/b"}}`, invalid, codes.InvalidArgument, `spec.queue: is "a/b"`},
	} {
		t.Run(name, func(t *testing.T) { h.call(t, tc.method, tc.path, tc.body).wantError(t, tc.status, tc.code, tc.want) })
	}
}
