package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

func TestRESTRefusesWhatItDoesNotKnow(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")
	const invalid = http.StatusBadRequest
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code               codes.Code
		want               string
	}{
		"unknown field":        {"POST", "/api/jobs", `{"title":"x"}`, invalid, codes.InvalidArgument, `body: unknown field "title" (line 1, column 2)`},
		"unknown nested field": {"POST", "/api/jobs", `{"spec":{"container":{"img":"x"}}}`, invalid, codes.InvalidArgument, `body: unknown field "img"`},
		"no JSON":              {"POST", "/api/jobs", `name: x`, invalid, codes.InvalidArgument, "body: syntax error"},
		"trailing":             {"POST", "/api/jobs", `{} {}`, invalid, codes.InvalidArgument, "body: syntax error"},
		"wrong type":           {"POST", "/api/jobs", `{"spec":{"priority":"high"}}`, invalid, codes.InvalidArgument, "body: invalid value for int32 field priority"},
		"bad enum":             {"POST", "/api/deployments", `{"spec":{"model":"m","engine":"ENGINE_MAGIC"}}`, invalid, codes.InvalidArgument, "engine"},
		"duration as a number": {"POST", "/api/jobs", `{"spec":{"timeout":30}}`, invalid, codes.InvalidArgument, `unexpected token 30 (line 1, column 20); durations and texts stand in quotes, such as "5s"`},
		"bad duration":         {"POST", "/api/jobs", `{"spec":{"timeout":"soon"}}`, invalid, codes.InvalidArgument, "body: "},
		"empty body":           {"POST", "/api/jobs", ``, invalid, codes.InvalidArgument, "spec: must hold one of container, chat and process"},
		"body too large":       {"POST", "/api/jobs", `{"name":"` + strings.Repeat("x", maxMessage) + `"}`, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "at most 4194304 are allowed"},
		"unknown path":         {"GET", "/api/machines", "", http.StatusNotFound, codes.NotFound, "there is no /api/machines; /api/openapi.json lists what there is"},
		"path of odd bytes":    {"GET", "/api/%ff", "", http.StatusNotFound, codes.NotFound, "there is no /api/\ufffd; "},
		"odd parameter":        {"GET", "/api/nodes?%ff=1", "", invalid, codes.InvalidArgument, "\ufffd: is not a query parameter here"},
		"unknown verb":         {"POST", "/api/nodes/n1:explode", "", http.StatusMethodNotAllowed, codes.Unimplemented, "POST does not go with /api/nodes/n1:explode"},
		"wrong method":         {"PUT", "/api/nodes", "", http.StatusMethodNotAllowed, codes.Unimplemented, "PUT does not go with /api/nodes"},
		"method override":      {"POST", "/api/nodes", "", http.StatusMethodNotAllowed, codes.Unimplemented, "POST does not go with"},
		"unknown parameter":    {"GET", "/api/nodes?stat=all", "", invalid, codes.InvalidArgument, "stat: is not a query parameter here; there are pageSize, pageToken, state, label"},
		"parameter of none":    {"GET", "/api/nodes/n1?x=1", "", invalid, codes.InvalidArgument, "x: is not a query parameter here; there are none"},
		"parameter on delete":  {"DELETE", "/api/nodes/n1?force=true", "", invalid, codes.InvalidArgument, "force: is not a query parameter"},
		"page size":            {"GET", "/api/nodes?pageSize=1001", "", invalid, codes.InvalidArgument, "pageSize: is 1001; it must be between 1 and 1000"},
		"page size negative":   {"GET", "/api/nodes?pageSize=-1", "", invalid, codes.InvalidArgument, "pageSize: is -1"},
		"page size text":       {"GET", "/api/nodes?pageSize=x", "", invalid, codes.InvalidArgument, `pageSize: is "x"; it must be a whole number`},
		"page size overflow":   {"GET", "/api/jobs?page_size=2147483648", "", invalid, codes.InvalidArgument, `pageSize: is "2147483648"; it must be a whole number`},
		"page token":           {"GET", "/api/nodes?pageToken=%21", "", invalid, codes.InvalidArgument, "pageToken: is not a token"},
		"job page token":       {"GET", "/api/jobs?pageToken=abc", "", invalid, codes.InvalidArgument, "pageToken: is not a token"},
		"state":                {"GET", "/api/nodes?state=asleep", "", invalid, codes.InvalidArgument, `state: is "asleep"; allowed are NODE_STATE_ONLINE, NODE_STATE_DRAINING, NODE_STATE_OFFLINE, all`},
		"job queue":            {"GET", "/api/jobs?queue=a/b", "", invalid, codes.InvalidArgument, `queue: is "a/b"; the name of a queue is`},
		"job name":             {"GET", "/api/jobs?name=%07", "", invalid, codes.InvalidArgument, "name: holds characters that cannot be printed"},
		"job state":            {"GET", "/api/jobs?state=JOB_STATE_UNSPECIFIED", "", invalid, codes.InvalidArgument, "allowed are JOB_STATE_QUEUED"},
		"selector":             {"GET", "/api/nodes?label=%3Dx", "", invalid, codes.InvalidArgument, "label: has no key"},
		"node id":              {"GET", "/api/nodes/a%20b", "", invalid, codes.InvalidArgument, `id: is "a b"`},
		"unknown node":         {"POST", "/api/nodes/n9:drain", "", http.StatusNotFound, codes.NotFound, `node "n9" is not known`},
		"too many labels":      {"PATCH", "/api/nodes/n1", mustJSON(map[string]any{"labels": manyLabels(65)}), invalid, codes.InvalidArgument, "labels: has 65 entries"},
		"job id":               {"GET", "/api/jobs/NOT..AN..ID", "", invalid, codes.InvalidArgument, "id: is"},
		"unknown job":          {"GET", "/api/jobs/0190", "", http.StatusNotFound, codes.NotFound, `"0190"`},
		"unknown deployment":   {"DELETE", "/api/deployments/none", "", http.StatusNotFound, codes.NotFound, `there is no deployment "none"`},
		"deployment name":      {"GET", "/api/deployments/Big_Name", "", invalid, codes.InvalidArgument, "name: is \"Big_Name\"; allowed are a-z 0-9 -"},
		"log of no job":        {"GET", "/api/jobs/0190/logs", "", http.StatusNotFound, codes.NotFound, `"0190"`},
		"log parameter":        {"GET", "/api/jobs/0190/logs?fellow=true", "", invalid, codes.InvalidArgument, "fellow: is not a query parameter here; there are follow, attempt, tail"},
		"log follow":           {"GET", "/api/jobs/0190/logs?follow=perhaps", "", invalid, codes.InvalidArgument, `follow: is "perhaps"; allowed are true, false`},
		"log tail":             {"GET", "/api/jobs/0190/logs?tail=x", "", invalid, codes.InvalidArgument, `tail: is "x"; it must be a whole number`},
		"log tail negative":    {"GET", "/api/jobs/0190/logs?tail=-1", "", invalid, codes.InvalidArgument, "tail: is -1; it must not be negative"},
		"event id":             {"GET", "/api/events?lastEventId=" + strings.Repeat("x", 65), "", invalid, codes.InvalidArgument, "lastEventId: has 65 characters"},
		"event parameter":      {"GET", "/api/events?since=1", "", invalid, codes.InvalidArgument, "since: is not a query parameter here"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if name == "method override" {
				headers = []string{"X-HTTP-Method-Override: GET", "Content-Type: application/x-www-form-urlencoded"}
			}
			h.call(t, tc.method, tc.path, tc.body, headers...).wantError(t, tc.status, tc.code, tc.want)
		})
	}
}

// TestHeadIsGetWithoutABody holds that HEAD is answered at once also where GET
// would go on for ever.
func TestHeadIsGetWithoutABody(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")
	id := h.submit(t, goodJob)
	for path, want := range map[string]int{
		"/api/nodes":                            http.StatusOK,
		"/api/nodes/n1":                         http.StatusOK,
		"/api/nodes/n2":                         http.StatusNotFound,
		"/api/jobs?state=bogus":                 http.StatusBadRequest,
		"/api/jobs/" + id:                       http.StatusOK,
		"/api/events":                           http.StatusOK,
		"/api/jobs/" + id + "/logs?follow=true": http.StatusOK,
		"/api/jobs/0190/logs?follow=true":       http.StatusNotFound,
		"/api/openapi.json":                     http.StatusOK,
	} {
		if a := h.call(t, http.MethodHead, path, ""); a.status != want || len(a.body) > 0 {
			t.Errorf("HEAD %s answers %d %q, want %d", path, a.status, a.body, want)
		}
		if got := h.bus.Subscribers(); got != 0 {
			t.Fatalf("HEAD %s leaves %d subscribers", path, got)
		}
	}
}

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// TestEveryCallChecksItsParameters holds the table of parameters against the
// patterns that the REST handler really has.
func TestEveryCallChecksItsParameters(t *testing.T) {
	h := newHarness(t, settings{})
	for call, names := range queryParameters() {
		method, path, _ := strings.Cut(call, " ")
		path = strings.NewReplacer("{id}", "0190", "{name}", "x").Replace(path)
		a := h.call(t, method, path+"?surely-not-there=1", "")
		a.wantError(t, http.StatusBadRequest, codes.InvalidArgument, "surely-not-there: is not a query parameter here")
		if names == nil {
			t.Errorf("%s has no list", call)
		}
	}
}

func TestOpsEndpoints(t *testing.T) {
	var broken error
	h := newHarness(t, settings{ready: func(context.Context) error { return broken }})
	for path, want := range map[string]string{
		"/healthz":          "ok\n",
		"/readyz":           "ready\n",
		"/api/openapi.json": `"openapi"`,
		"/api/version":      `"name":"orchion"`,
		"/metrics":          "orchion_nodes{state=\"online\"} 0",
	} {
		if a := h.call(t, http.MethodGet, path, ""); a.status != http.StatusOK || !strings.Contains(string(a.body), want) {
			t.Errorf("%s answers %d without %q: %.300s", path, a.status, want, a.body)
		}
	}
	broken = fault.New(fault.Unavailable, "the disk is full")
	if a := h.call(t, http.MethodGet, "/readyz", ""); a.status != http.StatusServiceUnavailable || string(a.body) != "not ready: the disk is full\n" {
		t.Errorf("/readyz answers %d %q", a.status, a.body)
	}
	broken = nil
	h.server.Close()
	if a := h.call(t, http.MethodGet, "/readyz", ""); a.status != http.StatusServiceUnavailable || string(a.body) != "not ready: shutting down\n" {
		t.Errorf("/readyz of a closing server answers %d %q", a.status, a.body)
	}
}

func TestVersion(t *testing.T) {
	h := newHarness(t, settings{})
	var v struct{ Name, Version, GoVersion, StartedAt, GrpcAddress string }
	h.call(t, http.MethodGet, "/api/version", "").decode(t, &v)
	if v.Name != "orchion" || v.Version == "" || v.GoVersion == "" || v.StartedAt != "2023-11-14T22:13:20Z" || v.GrpcAddress != "127.0.0.1:50051" {
		t.Errorf("version is %+v", v)
	}
}

func TestGatewayPaths(t *testing.T) {
	h := newHarness(t, settings{gateway: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	for _, path := range []string{"/v1/models", "/rerank", "/ollama", "/ollama/", "/ollama/api/tags", "/ollama/api/pull"} {
		if a := h.call(t, http.MethodPost, path, "{}"); a.status != http.StatusTeapot || string(a.body) != path {
			t.Errorf("%s is answered with %d %s", path, a.status, a.body)
		}
	}
}

func TestPanicsAreSurvived(t *testing.T) {
	h := newHarness(t, settings{gateway: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })})
	h.call(t, http.MethodGet, "/v1/models", "").
		wantError(t, http.StatusInternalServerError, codes.Internal, "internal error; the orchestrator's log says more")
	if a := h.call(t, http.MethodGet, "/healthz", ""); a.status != http.StatusOK {
		t.Errorf("afterwards /healthz answers %d", a.status)
	}
}
