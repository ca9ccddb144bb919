package api

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
)

func TestUsage(t *testing.T) {
	h := newHarness(t, settings{})
	var empty struct {
		Series []any
		Total  struct{ Requests string }
		Step   string
	}
	h.call(t, "GET", "/api/usage", "").decode(t, &empty)
	if empty.Series == nil || len(empty.Series) != 0 || empty.Total.Requests != "0" || empty.Step != "1800s" {
		t.Errorf("without calls usage is %+v", empty)
	}
	for i, c := range []meter.Call{
		{RequestID: "first", Model: "m", Caller: "local", NodeID: "n1", Status: 200, TokensIn: 3, TokensOut: 11, Streamed: true, FirstToken: time.Second, Duration: 3 * time.Second},
		{RequestID: "second", Model: "m", Caller: "job:7", NodeID: "n2", Status: 503, Duration: time.Second},
		{RequestID: "third", Caller: "local", Status: 404, Duration: time.Millisecond},
	} {
		c.Time = time.Now().Add(-time.Duration(10-i) * time.Second)
		h.meter.Note(&c)
	}
	type latency struct{ MeanMs, P50Ms, P95Ms float64 }
	type counts struct {
		Requests, Failed, TokensIn, TokensOut string
		TokensPerSecond                       float64
		FirstToken                            *latency
	}
	var report struct {
		Series []struct {
			Key    string
			Total  counts
			Points []struct {
				Start  time.Time
				Counts counts
			}
		}
		Total counts
		Step  string
	}
	a := h.call(t, "GET", "/api/usage?groupBy=caller&step=3600s", "")
	if a.status != http.StatusOK {
		t.Fatalf("usage answers %d %s", a.status, a.body)
	}
	a.decode(t, &report)
	if len(report.Series) != 2 || report.Series[0].Key != "local" || report.Series[1].Key != "job:7" || report.Step != "3600s" {
		t.Fatalf("by caller it is %s", a.body)
	}
	want := counts{Requests: "2", Failed: "1", TokensIn: "3", TokensOut: "11", TokensPerSecond: 5}
	got := report.Series[0].Total
	if f := got.FirstToken; f == nil || f.MeanMs != 1000 || f.P50Ms < 700 || f.P50Ms > 1100 {
		t.Errorf("time to the first token is %+v", f)
	}
	got.FirstToken = nil
	if got != want || report.Total.Requests != "3" || len(report.Series[0].Points) == 0 {
		t.Errorf("it is %+v, want %+v", got, want)
	}

	type list struct {
		Requests []struct {
			RequestID, Model, NodeID string
			Status                   int
			DurationMs               float64
		}
		NextPageToken string
	}
	var page list
	h.call(t, "GET", "/api/usage/requests?pageSize=2", "").decode(t, &page)
	if len(page.Requests) != 2 || page.Requests[0].RequestID != "third" || page.Requests[1].DurationMs != 1000 || page.NextPageToken == "" {
		t.Fatalf("the first page is %+v", page)
	}
	next := page.NextPageToken
	page = list{}
	h.call(t, "GET", "/api/usage/requests?pageToken="+next, "").decode(t, &page)
	if len(page.Requests) != 1 || page.Requests[0].RequestID != "first" || page.NextPageToken != "" {
		t.Errorf("the second page is %+v", page)
	}
	page = list{}
	h.call(t, "GET", "/api/usage/requests?status=failed&model=m&caller=job:7", "").decode(t, &page)
	if len(page.Requests) != 1 || page.Requests[0].Status != 503 {
		t.Errorf("what failed is %+v", page)
	}

	for name, tc := range map[string]struct{ path, want string }{
		"group":      {"/api/usage?groupBy=day", `groupBy: is "day"; allowed are model, caller, node and nothing`},
		"step":       {"/api/usage?step=10s", "step: is 10s; it must be between 1m0s and 8784h0m0s"},
		"points":     {"/api/usage?step=60s&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", "step: is 1m0s; minutes are kept for 48h0m0s"},
		"backwards":  {"/api/usage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from: is 2026-01-02T00:00:00Z; it must be before to"},
		"long ago":   {"/api/usage?from=0001-01-01T00:00:00Z", "from: is out of range; it must be a time from 1970 to 2242"},
		"series":     {"/api/usage?maxSeries=99", "maxSeries: is 99; allowed are 1 to 50"},
		"parameter":  {"/api/usage?models=x", "models: is not a query parameter here"},
		"status":     {"/api/usage/requests?status=bad", `status: is "bad"; allowed are ok, failed, cancelled and an HTTP status from 100 to 599`},
		"page":       {"/api/usage/requests?pageSize=1001", "pageSize: is 1001; it must be between 1 and 1000"},
		"page token": {"/api/usage/requests?pageToken=eA", "pageToken: is not a token of this list; take nextPageToken of the last answer"},
	} {
		t.Run(name, func(t *testing.T) {
			h.call(t, "GET", tc.path, "").wantError(t, http.StatusBadRequest, codes.InvalidArgument, tc.want)
		})
	}
}
