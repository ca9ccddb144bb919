package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/shared/plantedbug"
)

// GetJob answers one job.
func (s *Store) GetJob(ctx context.Context, id string) (job.Job, error) {
	var r record
	err := s.reading(ctx, func() (err error) {
		r, err = oneJob(s.byID.QueryRowContext(ctx, id), id)
		return err
	})
	return plantedbug.Stale(id, r.job), err
}

// ListJobs answers jobs newest first.
func (s *Store) ListJobs(ctx context.Context, f store.JobFilter) (store.JobPage, error) {
	if err := f.Validate(); err != nil {
		return store.JobPage{}, err
	}
	few := false
	if f.Queue != "" && onlyPending(f.States) {
		var err error
		if few, err = s.fewIn(ctx, f.States); err != nil {
			return store.JobPage{}, err
		}
	}
	text, args, err := listQuery(f, few)
	if err != nil {
		return store.JobPage{}, err
	}
	var page store.JobPage
	err = s.jobs(ctx, text, args, func(j job.Job) error {
		page.Jobs = append(page.Jobs, j)
		return nil
	})
	if err != nil {
		return store.JobPage{}, err
	}
	if len(page.Jobs) > f.Limit { // one more was asked for, to know
		page.Jobs = page.Jobs[:f.Limit]
		page.Next = store.CursorOf(page.Jobs[f.Limit-1]).Token()
	}
	return page, nil
}

// maxFew is how many rows are walked without a second thought.
const maxFew = 10_000

// onlyPending says whether a filter is of states that have not ended.
func onlyPending(states []job.State) bool {
	return len(states) > 0 && !slices.ContainsFunc(states, job.State.Ended)
}

// fewIn says whether so few jobs are in some states that walking all of them is
// cheap: a queue with a long history may have none of them, and neither may
// one beside another in which a million wait.
func (s *Store) fewIn(ctx context.Context, states []job.State) (few bool, err error) {
	left := int64(maxFew)
	err = s.reading(ctx, func() error {
		for _, state := range states {
			var n int64
			row := s.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_by_state WHERE state = ? LIMIT ?)", int64(state), left+1)
			if err := row.Scan(&n); err != nil {
				return fmt.Errorf("counting jobs: %w", err)
			}
			if left -= n; left < 0 {
				return nil
			}
		}
		return nil
	})
	return left >= 0, err
}

// PendingJobs calls f with every job that has not ended, oldest first.
func (s *Store) PendingJobs(ctx context.Context, f func(job.Job) error) error {
	return s.jobs(ctx, pendingQuery, nil, f)
}

// pendingQuery merges the states that have not ended, each in the order of its
// index.
const pendingQuery = "SELECT " + jobColumns + " FROM jobs WHERE state = 1 UNION ALL " +
	"SELECT " + jobColumns + " FROM jobs WHERE state = 2 UNION ALL " +
	"SELECT " + jobColumns + " FROM jobs WHERE state = 3 ORDER BY created_at, id"

// jobs runs a query for jobs.
func (s *Store) jobs(ctx context.Context, text string, args []any, f func(job.Job) error) error {
	return s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, text, args...)
		if err != nil {
			return fmt.Errorf("listing jobs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var r record
			if err := r.scan(rows.Scan); err != nil {
				return fmt.Errorf("listing jobs: %w", err)
			}
			if err := f(r.job); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("listing jobs: %w", err)
		}
		return nil
	})
}

// CountJobs answers how many jobs there are in each state.
func (s *Store) CountJobs(ctx context.Context) (map[job.State]int64, error) {
	counts := map[job.State]int64{}
	err := s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, "SELECT state, count(*) FROM jobs GROUP BY state")
		if err != nil {
			return fmt.Errorf("counting jobs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var state job.State
			var count int64
			if err := rows.Scan(&state, &count); err != nil {
				return fmt.Errorf("counting jobs: %w", err)
			}
			counts[state] = count
		}
		return rows.Err()
	})
	return counts, err
}

// listQuery writes the query for a page and one job more. SQLite keeps no
// statistics for us, so which index a list walks is decided here: the one that
// is likely to have the fewest rows, each in the order of the list. few: there
// are few jobs in the filter's states.
func listQuery(f store.JobFilter, few bool) (text string, args []any, err error) {
	var q query
	equals := slices.IndexFunc(f.Labels, func(r label.Requirement) bool { return r.Op == label.Equals })
	states := slices.Compact(slices.Sorted(slices.Values(f.States)))
	active := len(states) > 0 && !slices.ContainsFunc(states, func(s job.State) bool { return !s.Active() })
	from, prefix := "jobs j INDEXED BY jobs_by_creation", "j."
	byState := false
	switch {
	case active, few: // nodes hold only so many at a time
		byState = true
	case equals >= 0:
		from, prefix = "job_labels l CROSS JOIN jobs j ON j.seq = l.job", "l."
		q.where("l.key = ? AND l.value = ?", f.Labels[equals].Key, f.Labels[equals].Value)
	case f.ArrayID != "":
		from = "jobs j INDEXED BY jobs_by_array"
		q.where("j.array_id = ? AND j.array_id <> ''", f.ArrayID)
	case f.Name != "":
		from = "jobs j INDEXED BY jobs_by_name"
		q.where("j.name = ?", f.Name)
	case f.NodeID != "":
		// The second condition is there for SQLite to see that the partial
		// index will do.
		from = "jobs j INDEXED BY jobs_by_node"
		q.where("j.node_id = ? AND j.node_id <> ''", f.NodeID)
	case f.Queue != "":
		from = "jobs j INDEXED BY jobs_by_queue"
		q.where("j.queue = ?", f.Queue)
	case len(states) > 0:
		byState = true
	}
	if byState {
		from = "jobs j INDEXED BY jobs_by_state"
	}
	if f.NodeID != "" && from != "jobs j INDEXED BY jobs_by_node" {
		q.where("j.node_id = ?", f.NodeID)
	}
	if f.ArrayID != "" && from != "jobs j INDEXED BY jobs_by_array" {
		q.where("j.array_id = ?", f.ArrayID)
	}
	if f.Name != "" && from != "jobs j INDEXED BY jobs_by_name" {
		q.where("j.name = ?", f.Name)
	}
	if f.Queue != "" && from != "jobs j INDEXED BY jobs_by_queue" {
		q.where("j.queue = ?", f.Queue)
	}
	for i, r := range f.Labels {
		if i == equals && prefix == "l." {
			continue
		}
		switch r.Op {
		case label.Exists:
			q.where("EXISTS (SELECT 1 FROM json_each(j.labels) WHERE key = ?)", r.Key)
		case label.Equals:
			q.where("EXISTS (SELECT 1 FROM json_each(j.labels) WHERE key = ? AND value = ?)", r.Key, r.Value)
		case label.NotEquals:
			q.where("NOT EXISTS (SELECT 1 FROM json_each(j.labels) WHERE key = ? AND value = ?)", r.Key, r.Value)
		}
	}
	if f.After != "" {
		after, err := store.ParseCursor(f.After)
		if err != nil {
			return "", nil, err
		}
		q.where("("+prefix+"created_at, "+prefix+"id) < (?, ?)", toNanos(after.CreatedAt), after.ID)
	}
	columns := "SELECT j." + strings.ReplaceAll(strings.Join(strings.Fields(jobColumns), " "), ", ", ", j.")
	if !byState {
		if len(states) > 0 {
			q.where("j.state IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(states)), ", ") + ")")
			for _, s := range states {
				q.args = append(q.args, int64(s))
			}
		}
		return columns + " FROM " + from + q.text("") + " ORDER BY " + prefix + "created_at DESC, " + prefix + "id DESC LIMIT ?",
			append(q.args, f.Limit+1), nil
	}
	// One arm for each state, in the order of the list: SQLite merges them.
	var arms []string
	for _, s := range states {
		arms = append(arms, columns+" FROM "+from+q.text("j.state = ?"))
		args = append(append(args, int64(s)), q.args...)
	}
	order := " ORDER BY created_at DESC, id DESC LIMIT ?"
	return strings.Join(arms, " UNION ALL ") + order, append(args, f.Limit+1), nil
}

// query collects conditions.
type query struct {
	conditions []string
	args       []any
}

func (q *query) where(condition string, args ...any) {
	q.conditions = append(q.conditions, condition)
	q.args = append(q.args, args...)
}

// text is the WHERE clause with a first condition more, if there is any.
func (q *query) text(first string) string {
	all := q.conditions
	if first != "" {
		all = append([]string{first}, all...)
	}
	if len(all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}
