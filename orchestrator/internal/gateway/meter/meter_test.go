package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/store/memory"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky is a store that can be told to take nothing.
type flaky struct {
	*memory.Store

	refuses atomic.Bool
	writes  atomic.Int32
}

func (f *flaky) AddUsage(ctx context.Context, rows []usage.Row) error {
	if f.refuses.Load() {
		return errors.New("disk full")
	}
	f.writes.Add(1)
	return f.Store.AddUsage(ctx, rows)
}

func started(t *testing.T, cfg Config) *Meter {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func callNow(model, caller string) *Call {
	return &Call{
		RequestID: "r", Time: time.Now(), Endpoint: "/v1/chat/completions", Model: model, Caller: caller, NodeID: "n1", Engine: "ollama",
		Status: 200, TokensIn: 3, TokensOut: 5, Duration: time.Second,
	}
}

func lastHour(t *testing.T, m *Meter, group usage.GroupBy) usage.Report {
	t.Helper()
	r, err := m.Report(t.Context(), usage.Query{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Minute), GroupBy: group, MaxSeries: usage.MaxSeries})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &flaky{Store: memory.New()}
		m := started(t, Config{Store: db})
		var none *Meter
		none.Note(callNow("a", LocalCaller)) // as where nothing is metered
		m.Note(callNow("a", LocalCaller))
		m.Note(callNow("a", JobCaller("7")))
		if r := lastHour(t, m, usage.ByCaller); len(r.Series) != 2 || r.Total.Requests != 2 || r.Total.TokensOut != 10 {
			t.Errorf("what was just noted is reported as %+v", r.Total)
		}
		if db.writes.Load() != 1 {
			t.Errorf("%d writes, want 1", db.writes.Load())
		}
		failed := callNow("a", LocalCaller)
		failed.Status = 503
		gone := callNow("a", LocalCaller)
		gone.Status = StatusCancelled
		broken := callNow("a", LocalCaller)
		broken.Broken = true
		for _, c := range []*Call{failed, gone, broken} {
			m.Note(c)
		}
		time.Sleep(flushEvery + time.Second)
		synctest.Wait()
		if db.writes.Load() != 2 {
			t.Errorf("%d writes after a while, want 2", db.writes.Load())
		}
		if r := lastHour(t, m, usage.ByModel); r.Total.Requests != 5 || r.Total.Failed != 2 || r.Total.Cancelled != 1 {
			t.Errorf("it reports %+v", r.Total)
		}
		m.Note(callNow("b", LocalCaller))
		m.Stop()
		m.Stop()
		if r, err := m.cfg.Store.(*flaky).count(t.Context()); err != nil || r != 6 {
			t.Errorf("%d calls are stored after the end, want 6", r)
		}
	})
}

func (f *flaky) count(ctx context.Context) (n int64, err error) {
	err = f.Usage(ctx, time.Time{}, time.Now().Add(time.Hour), func(r *usage.Row) error {
		n += r.Requests
		return nil
	})
	return n, err
}

// TestStoreFails holds that what a store takes none of is written later, and
// that what waits meanwhile is bounded.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		db := &flaky{Store: memory.New()}
		db.refuses.Store(true)
		m := started(t, Config{Store: db, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		for range maxPending + 3 {
			m.Note(callNow("a", LocalCaller))
			time.Sleep(time.Minute)
		}
		if _, err := m.Report(t.Context(), usage.Query{From: time.Now().Add(-time.Hour), To: time.Now()}); err == nil {
			t.Error("a report says nothing of what could not be written")
		}
		db.refuses.Store(false)
		time.Sleep(2 * flushEvery)
		if r := lastHour(t, m, usage.Together); r.Total.Requests != maxPending || m.Lost() != 3 {
			t.Errorf("%d are reported and %d lost, want %d and 3", r.Total.Requests, m.Lost(), maxPending)
		}
		m.Stop()
		if n := strings.Count(logged.String(), "usage could not be written"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, &logged)
		}
	})
}

// TestTooManyCalls holds that calls that nobody takes from the buffer are lost
// and wait for nobody.
func TestTooManyCalls(t *testing.T) {
	m, err := New(Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	c := callNow("a", LocalCaller)
	for range bufferSize + 10 {
		m.Note(c)
	}
	if r := lastHour(t, m, usage.Together); r.Total.Requests != bufferSize || m.Lost() != 10 {
		t.Errorf("%d are counted and %d lost, want %d and 10", r.Total.Requests, m.Lost(), bufferSize)
	}
	if cap(m.spare) > 1024 {
		m.Note(c)
		m.gather()
		if cap(m.buffer) > 1024 && cap(m.spare) > 1024 {
			t.Errorf("room for %d and %d calls is kept", cap(m.buffer), cap(m.spare))
		}
	}
}

func TestTooManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t, Config{Store: memory.New()})
		for i := range usage.MaxKeys + 50 {
			m.Note(callNow("a", JobCaller(fmt.Sprint(i))))
		}
		for i := range 2 * usage.MaxKeys {
			m.Note(callNow(fmt.Sprint("m", i), LocalCaller))
		}
		m.gather()
		if n := len(m.take()); n > 2*usage.MaxKeys+1 {
			t.Errorf("%d rows in a minute", n)
		}
		if n := len(m.keys); n != 2*usage.MaxKeys {
			t.Errorf("%d keys, want %d", n, 2*usage.MaxKeys)
		}
		time.Sleep(time.Minute)
		m.Note(callNow("a", JobCaller("new")))
		if r := lastHour(t, m, usage.ByCaller); len(r.Series) != 1 || r.Series[0].Key != "job:new" {
			t.Errorf("a new minute has %d series", len(r.Series))
		}
	})
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		m := started(t, Config{Store: db, Retention: 72 * time.Hour})
		for range 3 {
			m.Note(callNow("a", LocalCaller))
			time.Sleep(time.Minute)
		}
		steps := func() (list []time.Duration) {
			if err := db.Usage(t.Context(), time.Time{}, time.Now(), func(r *usage.Row) error {
				list = append(list, r.Step)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return list
		}
		if got := steps(); len(got) != 3 || got[0] != time.Minute {
			t.Errorf("it keeps %v", got)
		}
		time.Sleep(50 * time.Hour)
		if got := steps(); len(got) != 1 || got[0] != time.Hour {
			t.Errorf("after two days it keeps %v", got)
		}
		time.Sleep(25 * time.Hour)
		if got := steps(); len(got) != 0 {
			t.Errorf("after its retention it keeps %v", got)
		}
	})
}

func TestRecent(t *testing.T) {
	m, err := New(Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	list := func(f Filter) (text string, next uint64) {
		calls, next := m.Recent(f)
		for _, c := range calls {
			text += fmt.Sprint(" ", c.Number, c.Model)
		}
		return text, next
	}
	if got, next := list(Filter{Limit: 1}); got != "" || next != 0 {
		t.Errorf("without calls it lists%s and %d", got, next)
	}
	for i := range maxRecent + 5 {
		c := callNow(string(rune('a'+i%2)), LocalCaller)
		if i == 3 || i == maxRecent {
			c.Status = 404
		}
		m.Note(c)
	}
	got, next := list(Filter{Limit: 3})
	if got != " 1005a 1004b 1003a" || next != 1003 {
		t.Errorf("the first page is%s, next %d", got, next)
	}
	if got, next = list(Filter{Limit: 2, Before: next, Model: "b"}); got != " 1002b 1000b" || next != 1000 {
		t.Errorf("the second of b is%s, next %d", got, next)
	}
	failed, ok := Failed, OK
	if got, next = list(Filter{Limit: 5, Outcome: &failed}); got != " 1001a" || next != 0 {
		t.Errorf("those that failed are%s, next %d", got, next)
	}
	if got, _ = list(Filter{Limit: 5, Status: 404, Outcome: &ok}); got != "" {
		t.Errorf("those with 404 that went well are%s", got)
	}
	if got, next = list(Filter{Limit: maxRecent}); len(strings.Fields(got)) != maxRecent || next != 0 || !strings.HasSuffix(got, " 6b") {
		t.Errorf("all are %d, next %d", len(strings.Fields(got)), next)
	}
	if got, next = list(Filter{Limit: 5, Before: 3}); got != "" || next != 0 {
		t.Errorf("what is forgotten is%s, next %d", got, next)
	}
}

func TestPace(t *testing.T) {
	for name, tc := range map[string]struct {
		c    Call
		want float64
	}{
		"whole":       {Call{TokensOut: 10, Duration: 2 * time.Second}, 5},
		"stream":      {Call{TokensOut: 11, Duration: 3 * time.Second, FirstToken: time.Second, Streamed: true}, 5},
		"no tokens":   {Call{Duration: time.Second}, 0},
		"one token":   {Call{TokensOut: 1, Duration: time.Second, FirstToken: time.Millisecond, Streamed: true}, 0},
		"all at once": {Call{TokensOut: 9, Duration: time.Second, FirstToken: time.Second, Streamed: true}, 0},
	} {
		if got := tc.c.TokensPerSecond(); got != tc.want {
			t.Errorf("%s: %v tokens/s, want %v", name, got, tc.want)
		}
	}
}

func TestGenAI(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := New(Config{Store: memory.New(), Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	c := callNow("a", LocalCaller)
	c.Streamed, c.FirstToken = true, 200*time.Millisecond
	m.Note(c)
	failed := *c
	failed.Status, failed.TokensIn, failed.TokensOut, failed.FirstToken = 503, 0, 0, 0
	m.Note(&failed)
	m.Note(&Call{Status: 404, Endpoint: "/v1/embeddings"}) // a model that there is not
	m.gather()
	for name, want := range map[string]int{
		"gen_ai_client_operation_duration_seconds": 2, "gen_ai_client_token_usage": 2, "gen_ai_server_time_to_first_token_seconds": 1,
		"gen_ai_server_time_per_output_token_seconds": 1, "orchion_gateway_usage_lost_total": 1,
	} {
		if n := len(seriesOf(t, registry, name)); n != want {
			t.Errorf("%s has %d series, want %d", name, n, want)
		}
	}
	got := seriesOf(t, registry, "gen_ai_server_time_per_output_token_seconds")[0]
	if want := `label:{name:"gen_ai_operation_name" value:"chat"} label:{name:"gen_ai_provider_name" value:"ollama"} ` +
		`label:{name:"gen_ai_request_model" value:"a"} histogram:{sample_count:1 sample_sum:0.2`; !strings.HasPrefix(got, want) {
		t.Errorf("a series is %s, want %s", got, want)
	}
	for i := range 2 * maxModels {
		m.genAI.observe(callNow(fmt.Sprint(i), LocalCaller))
	}
	if n := len(seriesOf(t, registry, "gen_ai_client_operation_duration_seconds")); n > maxModels+2 {
		t.Errorf("%d series of too many models", n)
	}
}

// seriesOf gives the series of a metric as text.
func seriesOf(t *testing.T, registry *prometheus.Registry, name string) (list []string) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				list = append(list, strings.ReplaceAll(m.String(), "  ", " ")) // protobuf varies its spaces
			}
		}
	}
	return list
}

func TestRequestLog(t *testing.T) {
	for name, tc := range map[string]struct {
		mode  LogMode
		calls int
		want  int
	}{
		"all":      {LogAll, 3, 4},
		"errors":   {LogErrors, 3, 1},
		"off":      {LogOff, 3, 0},
		"too many": {LogAll, 3 * logBurst, logBurst + 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				m := started(t, Config{Store: memory.New(), RequestLog: tc.mode, Logger: slog.New(slog.NewTextHandler(&out, nil))})
				for range tc.calls {
					m.Note(callNow("a", LocalCaller))
				}
				failed := callNow("a", LocalCaller)
				failed.Status = 500
				m.Note(failed)
				m.gather()
				if n := strings.Count(out.String(), "\n"); n != tc.want {
					t.Errorf("%d lines, want %d:\n%.1000s", n, tc.want, &out)
				}
				if tc.mode != LogOff && !strings.Contains(out.String(), `msg="call of a model" request_id=r endpoint=/v1/chat/completions `+
					`model=a caller=local node_id=n1 replica_id="" status=500 duration_ms=1000 tokens_in=3 tokens_out=5`) {
					t.Errorf("a line is missing:\n%.1000s", &out)
				}
				time.Sleep(time.Second)
				m.Note(callNow("a", LocalCaller))
				m.gather()
				if got := strings.Contains(out.String(), fmt.Sprintf("not_logged=%d", 2*logBurst)); got != (name == "too many") {
					t.Errorf("that lines were left out is said: %v", got)
				}
			})
		})
	}
	if _, err := ParseLogMode("some"); err == nil || err.Error() != "must be one of off, errors, all" {
		t.Errorf("a wrong mode is %v", err)
	}
	for _, name := range []string{"off", "errors", "all"} {
		if mode, err := ParseLogMode(name); err != nil || mode.String() != name {
			t.Errorf("%s becomes %v, %v", name, mode, err)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	m, err := New(Config{Store: memory.New()})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer m.Stop()
	c := callNow("a", LocalCaller)
	b.ReportAllocs()
	for b.Loop() {
		m.Note(c)
	}
}
