package sqlite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// TestListsWalkAnIndex holds every list query to an index in the order of the
// list: no table scan and no sorting, however many jobs there are.
func TestListsWalkAnIndex(t *testing.T) {
	s := openClosing(t)
	team := label.Selector{{Key: "team", Op: label.Equals, Value: "blue"}, {Key: "x", Op: label.Exists}, {Key: "y", Op: label.NotEquals, Value: "z"}}
	after := store.Cursor{CreatedAt: epoch, ID: "j1"}.Token()
	for _, test := range []struct {
		name   string
		filter store.JobFilter
		index  string
	}{
		{"all", store.JobFilter{}, "jobs_by_creation"},
		{"exists", store.JobFilter{Labels: team[1:]}, "jobs_by_creation"},
		{"label", store.JobFilter{Labels: team}, "USING PRIMARY KEY (key=? AND value=?"},
		{"label, ended and node", store.JobFilter{Labels: team, NodeID: "n1", States: []job.State{job.Failed}}, "USING PRIMARY KEY (key=? AND value=?"},
		{"label and running", store.JobFilter{Labels: team, NodeID: "n1", States: []job.State{job.Running}}, "jobs_by_state"},
		{"node", store.JobFilter{NodeID: "n1"}, "jobs_by_node (node_id=?"},
		{"array", store.JobFilter{ArrayID: "array-a"}, "jobs_by_array (array_id=?"},
		{"array and ended", store.JobFilter{ArrayID: "array-a", States: []job.State{job.Failed}}, "jobs_by_array (array_id=?"},
		{"name", store.JobFilter{Name: "nightly"}, "jobs_by_name (name=?"},
		{"name, queue and ended", store.JobFilter{Name: "nightly", Queue: "q", States: []job.State{job.Failed}}, "jobs_by_name (name=?"},
		{"queue", store.JobFilter{Queue: "q"}, "jobs_by_queue (queue=?"},
		{"queue and ended", store.JobFilter{Queue: "q", States: []job.State{job.Failed}}, "jobs_by_queue (queue=?"},
		{"queue and queued", store.JobFilter{Queue: "q", States: []job.State{job.Queued}}, "jobs_by_queue (queue=?"},
		{"queue and running", store.JobFilter{Queue: "q", States: []job.State{job.Running}}, "jobs_by_state (state=?"},
		{"node and ended", store.JobFilter{NodeID: "n1", States: []job.State{job.Succeeded, job.Failed}}, "jobs_by_node (node_id=?"},
		{"state", store.JobFilter{States: []job.State{job.Queued}}, "jobs_by_state (state=?"},
		{"states", store.JobFilter{States: job.States()}, "jobs_by_state (state=?"},
	} {
		for _, cursor := range []string{"", after} {
			t.Run(fmt.Sprintf("%s, cursor %t", test.name, cursor != ""), func(t *testing.T) {
				test.filter.Limit, test.filter.After = 10, cursor
				text, args, err := listQuery(test.filter, false)
				if err != nil {
					t.Fatal(err)
				}
				plan := explain(t, s, text, args)
				if !strings.Contains(plan, test.index) {
					t.Errorf("the plan does not use %s:\n%s", test.index, plan)
				}
				if cursor != "" && !strings.Contains(plan, "(created_at,id)<(?,?)") && !strings.Contains(plan, "created_at<?") {
					t.Errorf("the plan does not begin at the cursor:\n%s", plan)
				}
			})
		}
	}
	t.Run("queue and few queued", func(t *testing.T) {
		text, args, err := listQuery(store.JobFilter{Queue: "q", States: []job.State{job.Queued, job.Running}, Limit: 10}, true)
		if err != nil {
			t.Fatal(err)
		}
		if plan := explain(t, s, text, args); !strings.Contains(plan, "jobs_by_state (state=?") {
			t.Errorf("the plan walks the queue's history:\n%s", plan)
		}
	})
	t.Run("pending", func(t *testing.T) { explain(t, s, pendingQuery, nil) })
	t.Run("history", func(t *testing.T) { explain(t, s, doomedQuery, []any{1, 1}) })
	t.Run("outcome", func(t *testing.T) {
		explain(t, s, pendingOfArray, []any{"array-a", 1})
		explain(t, s, endedOfArray, []any{"array-a", 4})
	})
}

// explain answers SQLite's plan, which may neither sort nor walk a table.
func explain(t *testing.T, s *Store, text string, args []any) string {
	t.Helper()
	rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(plan.String()) {
		if strings.Contains(line, "TEMP B-TREE") || strings.Contains(line, "SCAN") && !strings.Contains(line, "INDEX") && !strings.Contains(line, "json_each") {
			t.Errorf("the plan sorts or walks a whole table: %s", line)
		}
	}
	return plan.String()
}
