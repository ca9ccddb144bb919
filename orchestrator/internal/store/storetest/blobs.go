package storetest

import (
	"context"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
)

// digestOf is the digest of nothing, made of one digit.
func digestOf(digit string) blob.Digest { return blob.Digest("sha256:" + strings.Repeat(digit, 64)) }

// withBlobs is a job that is given blobs.
func withBlobs(n int, digests ...blob.Digest) job.Job {
	j := newJob(n)
	for i, digest := range digests {
		j.Spec.Container.Files = append(j.Spec.Container.Files, job.File{
			Path: "/in/" + string(rune('a'+i)), Blob: digest, Size: 5 << 30, Mode: 0o644,
		})
	}
	return j
}

func testBlobs(t *testing.T, im Implementation) {
	s := open(t, im)
	a, b, c := digestOf("a"), digestOf("b"), digestOf("c")
	inUse := func(want ...blob.Digest) {
		t.Helper()
		got, err := s.BlobsInUse(t.Context(), []blob.Digest{a, b, c})
		ok(t, err)
		wanted := map[blob.Digest]bool{}
		for _, digest := range want {
			wanted[digest] = true
		}
		same(t, "blobs in use", wanted, got)
	}
	inUse()
	first := submit(t, s, withBlobs(1, a, b, a))
	same(t, "stored job", first, get(t, s, first.ID))
	inUse(a, b)
	array := newArray(2, 2, "array-a")
	for i := range array {
		array[i].Spec = withBlobs(0, c).Spec
	}
	_, _, err := s.SubmitJobs(t.Context(), array)
	ok(t, err)
	keyed := withBlobs(5, b)
	keyed.IdempotencyKey = "k"
	submit(t, s, keyed)
	keyed = withBlobs(6, a)
	keyed.IdempotencyKey = "k"
	_, created, err := s.SubmitJob(t.Context(), keyed)
	if ok(t, err); created {
		t.Error("a job was made although its key is taken")
	}

	remove := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			must(t)(s.CancelJob(t.Context(), id, "", epoch))
		}
		deleted, err := s.DeleteEnded(t.Context(), epoch.AddDate(0, 0, 1), 10)
		ok(t, err)
		same(t, "deleted", ids, deleted)
	}
	remove("job-0001")
	inUse(b, c)
	remove("job-0002")
	inUse(b, c)
	remove("job-0003", "job-0005")
	inUse()

	// A schedule has them between its runs.
	put := func(name string, digests ...blob.Digest) schedule.Schedule {
		t.Helper()
		c := schedule.Schedule{Name: name, Cron: "@daily", Template: schedule.Template{Spec: withBlobs(0, digests...).Spec}, CreatedAt: epoch}
		ok(t, s.PutSchedule(t.Context(), c))
		return c
	}
	put("one", a, b, a)
	two := put("two", b)
	inUse(a, b)
	put("one", c)
	inUse(b, c)
	submit(t, s, withBlobs(7, c))
	ok(t, s.DeleteSchedule(t.Context(), "one"))
	inUse(b, c)
	remove("job-0007")
	inUse(b)
	list, err := s.ListSchedules(t.Context())
	ok(t, err)
	same(t, "schedules", []schedule.Schedule{two}, list)
	wantFault(t, s.DeleteSchedule(t.Context(), "one"), fault.NotFound, `there is no schedule "one"`)
	inUse(b)
	ok(t, s.DeleteSchedule(t.Context(), "two"))
	inUse()

	_, err = s.BlobsInUse(doneContext(t), []blob.Digest{a})
	if err == nil {
		t.Error("answered although the context was done")
	}
}

func doneContext(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
