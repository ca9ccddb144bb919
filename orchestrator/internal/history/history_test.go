package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logs is a log store that notes what is deleted.
type logs struct {
	mu      sync.Mutex // guards what follows
	fails   bool
	deleted []string
}

func (l *logs) DeleteJob(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails {
		return errors.New("the disk is gone")
	}
	l.deleted = append(l.deleted, id)
	return nil
}

// fail has deleting fail from now on, or not any more.
func (l *logs) fail(fails bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = fails
}

// gone answers the jobs whose logs are deleted.
func (l *logs) gone() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.deleted)
}

// bed is a keeper with what it works on.
type bed struct {
	t    *testing.T
	db   *memory.Store
	logs *logs
	n    int

	mu      sync.Mutex // guards removed
	removed []string   // what was told to be gone
}

// ended stores so many jobs that end now.
func (b *bed) ended(count int) {
	b.t.Helper()
	for range count {
		b.n++
		id := fmt.Sprintf("job-%05d", b.n)
		j := job.Job{ID: id, CreatedAt: time.Now(), Spec: job.Spec{Chat: &job.Chat{}}}
		if _, _, err := b.db.SubmitJob(b.t.Context(), j); err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.db.CancelJob(b.t.Context(), id, "", time.Now()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// left answers the ids of the jobs that are kept, oldest first.
func (b *bed) left() []string {
	b.t.Helper()
	synctest.Wait()
	page, err := b.db.ListJobs(b.t.Context(), store.JobFilter{Limit: store.MaxPage})
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for _, j := range slices.Backward(page.Jobs) {
		ids = append(ids, j.ID)
	}
	return ids
}

func (b *bed) keep(age time.Duration, most int) *Keeper {
	b.t.Helper()
	k, err := New(Config{
		Store: b.db, Logs: b.logs, Keep: age, Max: most,
		Removed: func(id string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.removed = append(b.removed, id)
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := k.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return k
}

func inBed(t *testing.T, f func(*bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&bed{t: t, db: memory.New(), logs: &logs{}}) })
}

func TestOldJobsGo(t *testing.T) {
	inBed(t, func(b *bed) {
		b.ended(250)
		time.Sleep(30 * time.Minute)
		b.ended(3)
		k := b.keep(time.Hour, 0)
		defer k.Stop()
		time.Sleep(30 * time.Minute)
		if n := len(b.left()); n != 253 {
			t.Errorf("%d jobs are left after an hour, want all", n)
		}
		time.Sleep(every + 2*breath + time.Millisecond)
		if got := b.left(); !slices.Equal(got, []string{"job-00251", "job-00252", "job-00253"}) {
			t.Errorf("%d jobs are left: %v", len(got), got)
		}
		if n := len(b.logs.gone()); n != 250 {
			t.Errorf("%d logs are deleted", n)
		}
		b.mu.Lock()
		if len(b.removed) != 250 || b.removed[0] != "job-00001" || b.removed[249] != "job-00250" {
			t.Errorf("told that %d are gone: %v", len(b.removed), b.removed)
		}
		b.mu.Unlock()
		time.Sleep(24 * time.Hour)
		if got := b.left(); len(got) != 0 {
			t.Errorf("after a day %v are left", got)
		}
		k.Stop()
	})
}

func TestTooManyJobsGo(t *testing.T) {
	inBed(t, func(b *bed) {
		b.ended(205)
		// What has not ended does not count.
		j := job.Job{ID: "waits", CreatedAt: time.Now(), Spec: job.Spec{Chat: &job.Chat{}}}
		if _, _, err := b.db.SubmitJob(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		k := b.keep(0, 3)
		defer k.Stop()
		time.Sleep(time.Second)
		if got := b.left(); !slices.Equal(got, []string{"job-00203", "job-00204", "job-00205", "waits"}) {
			t.Errorf("%d jobs are left: %v", len(got), got)
		}
	})
}

func TestNothingGoesForEver(t *testing.T) {
	inBed(t, func(b *bed) {
		b.ended(10)
		k := b.keep(0, 0)
		defer k.Stop()
		time.Sleep(10_000 * time.Hour)
		if n := len(b.left()); n != 10 {
			t.Errorf("%d jobs are left, want all", n)
		}
	})
}

// TestLogsGoLater: the log of a job that is gone is deleted when that works
// again, also after a restart.
func TestLogsGoLater(t *testing.T) {
	inBed(t, func(b *bed) {
		b.ended(5)
		b.logs.fail(true)
		time.Sleep(2 * time.Hour)
		k := b.keep(time.Hour, 0)
		time.Sleep(time.Second)
		k.Stop()
		if len(b.left()) != 0 || len(b.logs.gone()) != 0 {
			t.Fatalf("%v are left, the logs of %v are deleted", b.left(), b.logs.gone())
		}
		b.logs.fail(false)
		k = b.keep(0, 0)
		defer k.Stop()
		time.Sleep(time.Second)
		if synctest.Wait(); len(b.logs.gone()) != 5 {
			t.Errorf("the logs of %v are deleted", b.logs.gone())
		}
		if err := k.Start(t.Context()); err == nil {
			t.Error("it starts twice")
		}
	})
}

// Artifacts go after a time of their own, or with their job.
func TestArtifactsGo(t *testing.T) {
	inBed(t, func(b *bed) {
		leave := func(id string) {
			t.Helper()
			if _, _, err := b.db.SubmitJob(t.Context(), job.Job{ID: id, CreatedAt: time.Now(), Spec: job.Spec{Chat: &job.Chat{}}}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.db.ClaimJob(t.Context(), id, "n1", time.Now()); err != nil {
				t.Fatal(err)
			}
			ref := job.Ref{JobID: id, Attempt: 1}
			if err := b.db.PutArtifacts(t.Context(), ref, []job.Artifact{{Name: "a", Digest: "sha256:a"}}, time.Now()); err != nil {
				t.Fatal(err)
			}
			if _, err := b.db.CompleteAttempt(t.Context(), ref, job.End{State: job.AttemptSucceeded, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		kept := func(id string) int {
			t.Helper()
			sets, err := b.db.ArtifactSets(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return len(sets)
		}
		inUse := func() bool {
			t.Helper()
			used, err := b.db.BlobsInUse(t.Context(), []blob.Digest{"sha256:a"})
			if err != nil {
				t.Fatal(err)
			}
			return used["sha256:a"]
		}
		leave("old")
		k, err := New(Config{Store: b.db, Logs: b.logs, Keep: 3 * time.Hour, KeepArtifacts: 2 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		leave("young")
		time.Sleep(time.Hour)
		if kept("old") != 1 {
			t.Error("artifacts are gone before their time")
		}
		time.Sleep(2 * every)
		if kept("old") != 0 || kept("young") != 1 {
			t.Errorf("of the old job %d sets are kept, of the young one %d", kept("old"), kept("young"))
		}
		k.Stop()

		// Without a time of their own.
		if k, err = New(Config{Store: b.db, Logs: b.logs, Keep: 3 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer k.Stop()
		time.Sleep(100 * time.Minute)
		if kept("young") != 1 || !inUse() {
			t.Error("artifacts are gone before their job")
		}
		time.Sleep(time.Hour)
		if _, err := b.db.ArtifactSets(t.Context(), "young"); err == nil || inUse() {
			t.Errorf("after the job is gone: %v, in use: %v", err, inUse())
		}
	})
}
