package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// benchClients is how many callers work at once.
const benchClients = 64

// lifecycles takes jobs from submission to success, b.N in all, and answers how
// many that were in a second.
func lifecycles(b *testing.B, prefix string, n int, life func(id string) error) float64 {
	b.Helper()
	var next atomic.Int64
	errs := make([]error, benchClients)
	var group sync.WaitGroup
	began := time.Now()
	for client := range benchClients {
		group.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) || errs[client] != nil {
					return
				}
				errs[client] = life(fmt.Sprintf("%s-%08d", prefix, i))
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return float64(n) / took.Seconds()
}

// BenchmarkLifecycles measures submit, claim, start and complete of whole jobs
// by 64 callers, and in the same run the same work through a writer that makes
// one transaction of each step, as one would write it first. The ratio is what
// to compare between machines.
func BenchmarkLifecycles(b *testing.B) {
	s := openClosing(b)
	b.ResetTimer()
	grouped := lifecycles(b, "job", b.N, func(id string) error { return oneLife(s, id, func(job.State) {}) })
	b.StopTimer()
	stats := s.Stats()

	naive, err := openNaive(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer naive.db.Close()
	// Fewer, for it is slow; a rate all the same.
	single := lifecycles(b, "naive", max(1, b.N/10), naive.life)

	b.ReportMetric(grouped, "lifecycles/s")
	b.ReportMetric(single, "naive-lifecycles/s")
	b.ReportMetric(grouped/single, "times-naive")
	b.ReportMetric(float64(stats.Operations)/float64(stats.Commits), "operations/commit")
}

// naiveStore makes one transaction of each operation.
type naiveStore struct{ db *sql.DB }

func openNaive(ctx context.Context, dir string) (naiveStore, error) {
	path := filepath.Join(dir, fileName)
	db, err := sql.Open("sqlite", dsn(path, "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return naiveStore{}, err
	}
	db.SetMaxOpenConns(1)
	return naiveStore{db}, migrate(ctx, db, path)
}

func (n naiveStore) life(id string) error {
	ctx, now := context.Background(), time.Unix(1_900_000_000, 0)
	labels := map[string]string{"crash": "test"}
	j := job.Job{ID: id, Name: id, CreatedAt: now, Labels: labels, Spec: job.Spec{Container: &job.Container{Image: "x"}}}
	if err := j.Submit(); err != nil {
		return err
	}
	values, err := insertion(j)
	if err != nil {
		return err
	}
	transaction := func(f func(*sql.Tx) error) error {
		tx, err := n.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := f(tx); err != nil {
			return err
		}
		return tx.Commit()
	}
	err = transaction(func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, insertJob, values...)
		if err != nil {
			return err
		}
		seq, err := result.LastInsertId()
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO job_labels (key, value, created_at, id, job) VALUES ('crash', 'test', ?, ?, ?)", toNanos(now), id, seq)
		return err
	})
	if err != nil {
		return err
	}
	for _, step := range []func(*job.Job) error{
		func(j *job.Job) error { return j.Claim("n1", now) },
		func(j *job.Job) error { _, err := j.Start(1, now); return err },
		func(j *job.Job) error { return j.Complete(1, job.End{State: job.AttemptSucceeded, At: now}) },
	} {
		err := transaction(func(tx *sql.Tx) error {
			r, err := oneJob(tx.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id), id)
			if err != nil {
				return err
			}
			if err := step(&r.job); err != nil {
				return err
			}
			values, err := changing(r.job)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, updateJob, append(values, r.seq)...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkListJobs measures the first and a deep page of lists over many jobs:
// both should cost about the same.
func BenchmarkListJobs(b *testing.B) {
	const jobs = 100_000
	s := openClosing(b)
	var deep store.Cursor
	for first := 0; first < jobs; first += 1000 {
		err := s.change(b.Context(), severalStatements, func(t *tx) error {
			for n := first; n < first+1000; n++ {
				j := simpleJob(fmt.Sprintf("job-%08d", n))
				j.CreatedAt = epoch.Add(time.Duration(n) * time.Second)
				j.State = job.States()[n%6]
				j.Spec.Queue, j.Name = fmt.Sprintf("q%d", n%10), fmt.Sprintf("name-%d", n%1000)
				j.Labels = map[string]string{"team": fmt.Sprint(n % 10)}
				if n%6 > 0 {
					j.Attempts = []job.Attempt{{Number: 1, NodeID: fmt.Sprintf("n%d", n%100)}}
				}
				if n == jobs/10 {
					deep = store.CursorOf(j)
				}
				values, err := insertion(j)
				if err != nil {
					return err
				}
				result, err := t.execCounting(insertJob, values...)
				if err != nil {
					return err
				}
				seq, err := result.LastInsertId()
				if err != nil {
					return err
				}
				if err := t.exec("INSERT INTO job_labels (key, value, created_at, id, job) VALUES ('team', ?, ?, ?, ?)",
					j.Labels["team"], toNanos(j.CreatedAt), j.ID, seq); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, f := range map[string]store.JobFilter{
		"all":    {},
		"deep":   {After: deep.Token()},
		"states": {States: []job.State{job.Failed, job.Cancelled}, After: deep.Token()},
		"node":   {NodeID: "n7", After: deep.Token()},
		"queue":  {Queue: "q7", After: deep.Token()},
		"queued": {Queue: "q6", States: []job.State{job.Queued}, After: deep.Token()},
		"name":   {Name: "name-7"},
		"label":  {Labels: label.Selector{{Key: "team", Op: label.Equals, Value: "7"}}, After: deep.Token()},
	} {
		b.Run(name, func(b *testing.B) {
			f.Limit = 100
			for b.Loop() {
				page, err := s.ListJobs(b.Context(), f)
				if err != nil || len(page.Jobs) != 100 {
					b.Fatalf("%d jobs, %v", len(page.Jobs), err)
				}
			}
		})
	}
}
