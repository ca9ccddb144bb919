package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jobs submits to a store, and fails on demand.
type jobs struct {
	db *memory.Store

	mu   sync.Mutex // guards what follows
	err  error
	lost bool // what is submitted is stored, and the answer is lost
	n    int
}

func (d *jobs) Submit(ctx context.Context, j job.Job) (job.Job, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return job.Job{}, d.err
	}
	d.n++
	j.ID, j.CreatedAt = fmt.Sprintf("job-%03d", d.n), time.Now()
	stored, _, err := d.db.SubmitJob(ctx, j)
	if d.lost {
		return job.Job{}, fault.New(fault.Unavailable, "the process ended")
	}
	return stored, err
}

func (d *jobs) Cancel(ctx context.Context, id, reason string) (job.Job, error) {
	return d.db.CancelJob(ctx, id, reason, time.Now())
}

func (d *jobs) set(err error, lost bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.lost = err, lost
}

// bed is a manager with what it works on.
type bed struct {
	t    *testing.T
	db   *memory.Store
	jobs *jobs
	m    *schedule.Manager

	mu   sync.Mutex // guards told
	told []string
}

// inBed runs a test at 2000-01-01 00:00:00 UTC, which is a Saturday.
func inBed(t *testing.T, f func(*bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		b := &bed{t: t, db: db, jobs: &jobs{db: db}}
		b.start()
		defer func() { b.m.Stop() }()
		f(b)
	})
}

func (b *bed) start() {
	b.t.Helper()
	tell := func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, text)
	}
	m, err := schedule.New(schedule.Config{
		Store: b.db, Jobs: b.jobs,
		Events:  func(s *schedule.Schedule) { tell(fmt.Sprintf("%s %s paused=%t", s.Name, s.LastJobID, s.Paused)) },
		Removed: func(name string) { tell(name + " is gone") },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := m.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.m = m
}

func (b *bed) put(s schedule.Schedule) schedule.Schedule {
	b.t.Helper()
	s.Template.Spec.Chat = &job.Chat{Model: "m"}
	stored, err := b.m.Put(b.t.Context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	return stored
}

func (b *bed) get(name string) schedule.Schedule {
	b.t.Helper()
	synctest.Wait()
	s, err := b.m.Get(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// want checks which jobs there are, newest first: "day hour:minute state".
func (b *bed) want(want ...string) {
	b.t.Helper()
	synctest.Wait()
	page, err := b.db.ListJobs(b.t.Context(), store.JobFilter{Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for _, j := range page.Jobs {
		got = append(got, j.CreatedAt.UTC().Format("2 15:04")+" "+j.State.String())
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		b.t.Errorf("the jobs are %q, want %q", got, want)
	}
}

func TestTicks(t *testing.T) {
	inBed(t, func(b *bed) {
		s := b.put(schedule.Schedule{Name: "half", Cron: "30 * * * *"})
		if next := s.NextRunAt(); !next.Equal(s.CreatedAt.Add(30 * time.Minute)) {
			t.Errorf("it runs next at %v", next)
		}
		b.put(schedule.Schedule{Name: "oslo", Cron: "@daily", TimeZone: "Europe/Oslo"})
		time.Sleep(30*time.Minute - time.Second)
		b.want()
		time.Sleep(time.Second)
		b.want("1 00:30 queued")
		time.Sleep(time.Hour)
		b.want("1 01:30 queued", "1 00:30 queued")
		last := b.get("half")
		j, err := b.db.GetJob(t.Context(), last.LastJobID)
		if err != nil || j.Labels[schedule.Label] != "half" || !last.LastRunAt.Equal(j.CreatedAt) {
			t.Errorf("the last run is %+v, its job %+v, %v", last, j, err)
		}
		if err := b.m.Delete(t.Context(), "half"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(22 * time.Hour) // midnight in Oslo is at 23:00 UTC
		b.want("1 23:00 queued", "1 01:30 queued", "1 00:30 queued")
		if _, err := b.m.Get("half"); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("a deleted schedule: %v", err)
		}
	})
}

// TestEvents: everything that people can see of a schedule is told.
func TestEvents(t *testing.T) {
	inBed(t, func(b *bed) {
		b.put(schedule.Schedule{Name: "hourly", Cron: "@hourly"})
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := b.m.Pause(t.Context(), "hourly", true); err != nil {
			t.Fatal(err)
		}
		if _, err := b.m.Trigger(t.Context(), "hourly"); err != nil {
			t.Fatal(err)
		}
		if err := b.m.Delete(t.Context(), "hourly"); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		want := "hourly  paused=false, hourly job-001 paused=false, hourly job-001 paused=true, hourly job-002 paused=true, hourly is gone"
		if got := strings.Join(b.told, ", "); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestPreview(t *testing.T) {
	after := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		cron, zone string
		count      int
		want       string // the runs, or the error
	}{
		"across a change of the clocks": {"30 3 * * *", "Europe/Oslo", 2, "29 01:30, 30 01:30"},
		"UTC":                           {"@daily", "", 1, "29 00:00"},
		"never":                         {"0 0 31 2 *", "", 5, `cron: is "0 0 31 2 *", a time that never comes`},
		"too many":                      {"@daily", "", 101, "count: is 101; it must be between 1 and 100"},
		"zone":                          {"@daily", "Mars", 1, `timeZone: is "Mars"; it must be a name of the IANA database, such as Europe/Oslo; empty means UTC`},
	} {
		t.Run(name, func(t *testing.T) {
			runs, err := schedule.Preview(tc.cron, tc.zone, after, tc.count)
			var got []string
			for _, run := range runs {
				got = append(got, run.Format("2 15:04"))
			}
			if err != nil {
				got = []string{err.Error()}
			}
			if text := strings.Join(got, ", "); text != tc.want {
				t.Errorf("got %q, want %q", text, tc.want)
			}
		})
	}
}

func TestMissedTicks(t *testing.T) {
	inBed(t, func(b *bed) {
		b.put(schedule.Schedule{Name: "hourly", Cron: "@hourly"})
		time.Sleep(90 * time.Minute)
		b.m.Stop()
		time.Sleep(7 * time.Hour)
		b.start()
		b.want("1 08:30 queued", "1 01:00 queued") // one for all that were missed
		time.Sleep(29 * time.Minute)
		b.m.Stop()
		b.start()
		b.want("1 08:30 queued", "1 01:00 queued") // nothing was missed
		time.Sleep(time.Minute)
		b.want("1 09:00 queued", "1 08:30 queued", "1 01:00 queued")
		// After years it does not look at every tick.
		b.m.Stop()
		time.Sleep(20 * 365 * 24 * time.Hour)
		b.start()
		if last := b.get("hourly").LastRunAt; time.Since(last) > time.Hour {
			t.Errorf("after 20 years the last run is at %v, now is %v", last, time.Now())
		}
	})
}

// TestTickIsSubmittedOnce: the process ends after the job was stored and before
// the schedule knows.
func TestTickIsSubmittedOnce(t *testing.T) {
	inBed(t, func(b *bed) {
		b.put(schedule.Schedule{Name: "hourly", Cron: "@hourly", Overlap: schedule.Skip})
		b.jobs.set(nil, true)
		time.Sleep(time.Hour + time.Minute)
		b.want("1 01:00 queued")
		b.m.Stop()
		b.jobs.set(nil, false)
		time.Sleep(3 * time.Hour)
		b.start()
		// Its own tick is heard of first, and then the last of those missed.
		b.want("1 01:00 queued")
		if s := b.get("hourly"); s.LastJobID != "job-001" || !strings.HasPrefix(s.Reason, "skipped at 2000-01-01T04:00:00Z") {
			t.Errorf("the schedule is %+v", s)
		}
	})
}

func TestOverlap(t *testing.T) {
	inBed(t, func(b *bed) {
		b.put(schedule.Schedule{Name: "skip", Cron: "0 * * * *", Overlap: schedule.Skip})
		time.Sleep(2 * time.Hour)
		b.want("1 01:00 queued")
		if s := b.get("skip"); s.Reason != "skipped at 2000-01-01T02:00:00Z: the run before, job job-001, had not ended" {
			t.Errorf("reason = %q", s.Reason)
		}
		if _, err := b.m.Trigger(t.Context(), "skip"); fault.CodeOf(err) != fault.Precondition || !strings.Contains(err.Error(), "the run before, job job-001, has not ended") {
			t.Errorf("triggering it: %v", err)
		}
		if _, err := b.jobs.Cancel(t.Context(), "job-001", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.want("1 03:00 queued", "1 01:00 cancelled")
		if s := b.get("skip"); s.Reason != "" {
			t.Errorf("reason = %q", s.Reason)
		}

		b.put(schedule.Schedule{Name: "skip", Cron: "0 * * * *", Overlap: schedule.Replace})
		if _, err := b.db.ClaimJob(t.Context(), "job-002", "n1", time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.want("1 04:00 queued", "1 03:00 assigned", "1 01:00 cancelled")
		old, _ := b.db.GetJob(t.Context(), "job-002")
		next, err := b.db.GetJob(t.Context(), "job-003")
		if err != nil || !old.CancelRequested || !next.Waiting || next.Spec.After[0] != (job.Dependency{ID: "job-002", On: job.OnEnd}) {
			t.Errorf("the old run is %+v, the new one %+v, %v", old, next, err)
		}
	})
}

func TestPauseAndTrigger(t *testing.T) {
	inBed(t, func(b *bed) {
		ctx := t.Context()
		s := b.put(schedule.Schedule{Name: "hourly", Cron: "@hourly", Paused: true})
		if !s.NextRunAt().IsZero() {
			t.Errorf("a paused schedule runs next at %v", s.NextRunAt())
		}
		time.Sleep(5*time.Hour + time.Minute)
		b.want()
		j, err := b.m.Trigger(ctx, "hourly")
		if err != nil || b.get("hourly").LastJobID != j.ID {
			t.Errorf("triggering a paused schedule: %+v, %v", j, err)
		}
		b.want("1 05:01 queued")
		if _, err := b.m.Pause(ctx, "hourly", false); err != nil {
			t.Fatal(err)
		}
		b.want("1 05:01 queued") // what it missed is not made up for
		time.Sleep(time.Hour)
		b.want("1 06:00 queued", "1 05:01 queued")
		for name, err := range map[string]error{
			"pause":   second(b.m.Pause(ctx, "none", true)),
			"trigger": second(b.m.Trigger(ctx, "none")),
			"delete":  b.m.Delete(ctx, "none"),
		} {
			if fault.CodeOf(err) != fault.NotFound || err.Error() != `there is no schedule "none"` {
				t.Errorf("%s of no schedule: %v", name, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestSubmitFails: what may go through later is tried again, and what cannot is
// said.
func TestSubmitFails(t *testing.T) {
	inBed(t, func(b *bed) {
		b.put(schedule.Schedule{Name: "hourly", Cron: "@hourly"})
		b.jobs.set(fault.New(fault.Exhausted, "the queue is full"), false)
		time.Sleep(time.Hour + time.Minute)
		b.want()
		b.jobs.set(nil, false)
		time.Sleep(10 * time.Second)
		b.want("1 01:01 queued")
		b.jobs.set(fault.BadField("spec.constraints[0]", "is no constraint"), false)
		time.Sleep(time.Hour)
		b.want("1 01:01 queued")
		if s := b.get("hourly"); s.Reason != "refused at 2000-01-01T02:00:00Z: spec.constraints[0]: is no constraint" {
			t.Errorf("reason = %q", s.Reason)
		}
		b.jobs.set(errors.New("unthought of"), false)
		time.Sleep(time.Hour)
		b.jobs.set(nil, false)
		time.Sleep(10 * time.Second)
		b.want("1 03:01 queued", "1 01:01 queued")
	})
}

func TestBadSchedules(t *testing.T) {
	inBed(t, func(b *bed) {
		const fields = `write five fields (minute, hour, day of month, month, day of week), such as "30 3 * * 1-5", or @hourly, @daily, @weekly, @monthly or @yearly`
		for _, test := range []struct {
			s    schedule.Schedule
			want string
		}{
			{schedule.Schedule{Name: "A b", Cron: "@daily"}, `name: is "A b"; the name of a schedule is 1 to 63 characters of a-z 0-9 -, starting with a letter or digit`},
			{schedule.Schedule{Name: "x"}, `cron: is "": empty spec string; ` + fields},
			{schedule.Schedule{Name: "x", Cron: "* * * *"}, fields},
			{schedule.Schedule{Name: "x", Cron: "61 * * * *"}, `cron: is "61 * * * *": `},
			{schedule.Schedule{Name: "x", Cron: "@every 5s"}, `cron: is "@every 5s"; ` + fields},
			{schedule.Schedule{Name: "x", Cron: "TZ=Europe/Oslo * * * * *"}, "the time zone is a field of its own"},
			{schedule.Schedule{Name: "x", Cron: "0 0 30 2 *"}, `cron: is "0 0 30 2 *", a time that never comes`},
			{schedule.Schedule{Name: "x", Cron: strings.Repeat("1,", 200)}, "cron: has 400 bytes; at most 256 are allowed"},
			{schedule.Schedule{Name: "x", Cron: "@daily", TimeZone: "Mars"}, `timeZone: is "Mars"; it must be a name of the IANA database, such as Europe/Oslo; empty means UTC`},
			{schedule.Schedule{Name: "x", Cron: "@daily", TimeZone: "Local"}, `timeZone: is "Local"`},
			{schedule.Schedule{Name: "x", Cron: "@daily", Overlap: 7}, "overlap: is 7, which is no policy"},
			{schedule.Schedule{Name: "x", Cron: "@daily", Template: schedule.Template{Spec: job.Spec{StartAfter: time.Now()}}}, "template.spec.startAfter: is set; the schedule says when its jobs start"},
			{schedule.Schedule{Name: "x", Cron: "@daily", Template: schedule.Template{Spec: job.Spec{After: []job.Dependency{{ID: "j"}}}}}, "template.spec.after: is set; a schedule's jobs can wait for no others"},
		} {
			_, err := b.m.Put(t.Context(), test.s)
			if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: %v, want %s", test.s, err, test.want)
			}
		}
		if list := b.m.List(); len(list) != 0 {
			t.Errorf("they were kept: %+v", list)
		}
	})
}
