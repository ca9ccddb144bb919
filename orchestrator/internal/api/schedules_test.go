package api

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

func TestSchedules(t *testing.T) {
	h := newHarness(t, settings{})
	type scheduleAnswer struct {
		Name, Cron, TimeZone, Overlap, NextRunAt, LastRunAt, LastJobID string
		Paused                                                         bool
		Template                                                       struct {
			Labels map[string]string
			Spec   struct{ Container struct{ Image string } }
		}
		Schedules     []struct{ Name string }
		NextPageToken string
	}
	read := func(method, path, body string) (s scheduleAnswer) {
		t.Helper()
		a := h.call(t, method, path, body)
		if a.status != http.StatusOK {
			t.Fatalf("%s %s answers %d %s", method, path, a.status, a.body)
		}
		a.decode(t, &s)
		return s
	}
	const template = `"template":{"labels":{"team":"a"},"spec":{"container":{"image":"alpine"}}}`
	s := read("PUT", "/api/schedules/nightly", `{"cron":"30 3 * * *","timeZone":"Europe/Oslo","overlap":"SCHEDULE_OVERLAP_SKIP",`+template+`}`)
	if s.Name != "nightly" || s.NextRunAt == "" || s.LastRunAt != "" || s.Overlap != "SCHEDULE_OVERLAP_SKIP" || s.Template.Spec.Container.Image != "alpine" {
		t.Errorf("a new schedule is %+v", s)
	}
	if s = read("POST", "/api/schedules", `{"name":"hourly","cron":"@hourly",`+template+`}`); s.Overlap != "SCHEDULE_OVERLAP_ALLOW" {
		t.Errorf("another is %+v", s)
	}
	if s = read("PATCH", "/api/schedules/nightly", `{"paused":true}`); !s.Paused || s.NextRunAt != "" || s.Cron != "30 3 * * *" {
		t.Errorf("paused, it is %+v", s)
	}
	if s = read("GET", "/api/schedules?pageSize=1", ""); len(s.Schedules) != 1 || s.Schedules[0].Name != "hourly" {
		t.Errorf("the first page is %+v", s)
	}
	if s = read("GET", "/api/schedules?pageToken="+s.NextPageToken, ""); len(s.Schedules) != 1 || s.Schedules[0].Name != "nightly" {
		t.Errorf("the second page is %+v", s)
	}
	var j struct {
		ID     string
		Labels map[string]string
	}
	h.call(t, "POST", "/api/schedules/nightly:trigger", `{}`).decode(t, &j)
	if j.Labels["orchion/schedule"] != "nightly" || j.Labels["team"] != "a" {
		t.Errorf("its job is %+v", j)
	}
	if s = read("GET", "/api/schedules/nightly", ""); s.LastJobID != j.ID || s.LastRunAt == "" {
		t.Errorf("after a run it is %+v", s)
	}
	if a := h.call(t, "DELETE", "/api/schedules/hourly", ""); a.status != http.StatusOK {
		t.Errorf("DELETE answers %d %s", a.status, a.body)
	}

	var preview struct{ Runs []string }
	if h.call(t, "GET", "/api/schedules:preview?cron=30%203%20*%20*%20*&timeZone=Asia/Kolkata", "").decode(t, &preview); len(preview.Runs) != 5 ||
		!strings.HasSuffix(preview.Runs[0], "T22:00:00Z") {
		t.Errorf("the preview is %+v", preview)
	}
	const withFile = `"template":{"spec":{"container":{"image":"alpine","files":[{"path":"/x","content":"aGk="}]}}}`
	if h.call(t, "PUT", "/api/schedules/filed", `{"cron":"@daily",`+withFile+`}`).status != http.StatusOK {
		t.Error("a schedule with an input file is refused")
	}
	if a := h.call(t, "GET", "/api/schedules", ""); strings.Contains(string(a.body), "aGk=") {
		t.Errorf("the list has the contents of files: %s", a.body)
	}
	if a := h.call(t, "GET", "/api/schedules/filed", ""); !strings.Contains(string(a.body), "aGk=") {
		t.Errorf("the schedule has lost the contents of its file: %s", a.body)
	}

	digest := digestOf("large")
	withBlob := `{"cron":"@daily","template":{"spec":{"container":{"image":"alpine","files":[{"path":"/x","blob":"` + digest + `"}]}}}}`
	h.call(t, "PUT", "/api/schedules/blobbed", withBlob).wantError(t, http.StatusBadRequest, codes.InvalidArgument,
		"template.spec.container.files[0].blob: is "+digest+", which is not there")
	h.blobRequest(t, http.MethodPut, digest, strings.NewReader("large"))
	if a := h.call(t, "PUT", "/api/schedules/blobbed", withBlob); !strings.Contains(string(a.body), `"sizeBytes":"5"`) {
		t.Errorf("a schedule with a blob is %s", a.body)
	}
	if a := h.call(t, "POST", "/api/schedules/blobbed:trigger", `{}`); a.status != http.StatusOK || !strings.Contains(string(a.body), digest) {
		t.Errorf("its job is %d %s", a.status, a.body)
	}

	const invalid = http.StatusBadRequest
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code               codes.Code
		want               string
	}{
		"unknown":   {"GET", "/api/schedules/none", "", http.StatusNotFound, codes.NotFound, `there is no schedule "none"`},
		"deleted":   {"POST", "/api/schedules/hourly:trigger", "{}", http.StatusNotFound, codes.NotFound, `there is no schedule "hourly"`},
		"overlap":   {"POST", "/api/schedules/nightly:trigger", "{}", invalid, codes.FailedPrecondition, "has not ended, and the schedule nightly does not let runs overlap"},
		"name":      {"PUT", "/api/schedules/A", `{"cron":"@daily",` + template + `}`, invalid, codes.InvalidArgument, `name: is "A"`},
		"cron":      {"PUT", "/api/schedules/x", `{"cron":"often",` + template + `}`, invalid, codes.InvalidArgument, `cron: is "often"`},
		"time zone": {"PUT", "/api/schedules/x", `{"cron":"@daily","timeZone":"Mars",` + template + `}`, invalid, codes.InvalidArgument, `timeZone: is "Mars"`},
		"policy":    {"PUT", "/api/schedules/x", `{"cron":"@daily","overlap":9,` + template + `}`, invalid, codes.InvalidArgument, "overlap: is 9; allowed are SCHEDULE_OVERLAP_ALLOW, SCHEDULE_OVERLAP_SKIP, SCHEDULE_OVERLAP_REPLACE"},
		"no job":    {"PUT", "/api/schedules/x", `{"cron":"@daily"}`, invalid, codes.InvalidArgument, "template.spec: must hold one of container, chat and process"},
		"bad job":   {"PUT", "/api/schedules/x", `{"cron":"@daily","template":{"spec":{"container":{"image":"a"},"priority":2000}}}`, invalid, codes.InvalidArgument, "template.spec.priority: is 2000"},
		"start":     {"PUT", "/api/schedules/x", `{"cron":"@daily","template":{"spec":{"container":{"image":"a"},"startAfter":"2020-01-01T00:00:00Z"}}}`, invalid, codes.InvalidArgument, "template.spec.startAfter: is set"},
		"count":     {"GET", "/api/schedules:preview?cron=@daily&count=101", "", invalid, codes.InvalidArgument, "count: is 101; it must be between 1 and 100"},
		"no time":   {"GET", "/api/schedules:preview?cron=0%200%2030%202%20*", "", invalid, codes.InvalidArgument, `cron: is "0 0 30 2 *", a time that never comes`},
		"no cron":   {"GET", "/api/schedules:preview", "", invalid, codes.InvalidArgument, `cron: is ""`},
		"labels":    {"PUT", "/api/schedules/x", mustJSON(map[string]any{"cron": "@daily", "template": map[string]any{"labels": manyLabels(64)}}), invalid, codes.InvalidArgument, "template.labels: has 64 entries; at most 63 are allowed"},
	} {
		t.Run(name, func(t *testing.T) { h.call(t, tc.method, tc.path, tc.body).wantError(t, tc.status, tc.code, tc.want) })
	}
}
