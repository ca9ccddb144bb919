package storetest

import (
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

func testSchedules(t *testing.T, im Implementation) {
	s := im.Open(t)
	list := func() []schedule.Schedule {
		t.Helper()
		schedules, err := s.ListSchedules(t.Context())
		ok(t, err)
		return schedules
	}
	same(t, "an empty store", nil, list())
	full := schedule.Schedule{
		Name: "nightly", Cron: "30 3 * * 1-5", TimeZone: "Europe/Oslo", Overlap: schedule.Replace, Paused: true,
		Template:  schedule.Template{Name: "n", Labels: map[string]string{"team": "blue"}, Spec: fullJob(1).Spec},
		CreatedAt: epoch, Cursor: epoch.Add(1), Pending: epoch.Add(2), LastRunAt: epoch.Add(3), LastJobID: "job-0001", Reason: "because",
	}
	bare := schedule.Schedule{Name: "hourly", Cron: "@hourly", Template: schedule.Template{Spec: job.Spec{Chat: &job.Chat{Model: "m"}}}, CreatedAt: epoch}
	ok(t, s.PutSchedule(t.Context(), full))
	ok(t, s.PutSchedule(t.Context(), bare))
	same(t, "two by name", []schedule.Schedule{bare, full}, list())
	full.Paused, full.Pending, full.Reason = false, time.Time{}, ""
	ok(t, s.PutSchedule(t.Context(), full))
	same(t, "one replaced", []schedule.Schedule{bare, full}, list())
	ok(t, s.DeleteSchedule(t.Context(), "hourly"))
	wantFault(t, s.DeleteSchedule(t.Context(), "hourly"), fault.NotFound, `there is no schedule "hourly"`)
	wantFault(t, s.PutSchedule(t.Context(), schedule.Schedule{Name: "A"}), fault.Invalid,
		`name: is "A"; the name of a schedule is 1 to 63 characters of a-z 0-9 -, starting with a letter or digit`)
	if im.Reopen != nil {
		s = im.Reopen(t, s)
	}
	defer func(s store.Store) { ok(t, s.Close()) }(s)
	same(t, "what is left", []schedule.Schedule{full}, list())
}
