package sqlite

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// ofVersion makes a database of an older schema with a statement for it, and
// opens it.
func ofVersion(t *testing.T, version int64, fill func(*sql.DB) error) *Store {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, fileName)))
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	if err := fill(db); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openIn(t, dir)
	t.Cleanup(func() { s.Close() })
	return s
}

// TestDrainIsTakenOver opens a database of the first schema, in which drain
// was a flag.
func TestDrainIsTakenOver(t *testing.T) {
	const insert = `INSERT INTO nodes (id, hostname, agent_labels, user_labels, drain, agent_version, address, capabilities, registered_at, last_seen_at)
		VALUES ('drained', 'h', '{}', '{}', 1, '', '', '{}', 1, 1), ('free', 'h', '{}', '{}', 0, '', '', '{}', 1, 1)`
	s := ofVersion(t, 1, func(db *sql.DB) error {
		_, err := db.ExecContext(t.Context(), insert)
		return err
	})
	nodes, err := s.ListNodes(t.Context())
	if err != nil || len(nodes) != 2 {
		t.Fatalf("read %v, %v", nodes, err)
	}
	if d := nodes[0].Drain; d == nil || d.Mode != node.DrainFinish || d.Since.IsZero() {
		t.Errorf("the drained node has %+v", d)
	}
	if nodes[1].Drain != nil || nodes[1].Cordoned {
		t.Errorf("the other node is %+v", nodes[1])
	}
}

// TestQueuesAreTakenOver opens a database in which only specs had the queue.
func TestQueuesAreTakenOver(t *testing.T) {
	const insert = `INSERT INTO jobs (id, name, labels, spec, created_at, state, reason, node_id, started_at, finished_at, not_before,
		cancel_requested, cancel_reason, forgiven_attempts, attempts)
		VALUES ('in-night', 'x', '{}', '{"queue":"night"}', 1, 1, '', '', 0, 0, 0, 0, '', 0, '[]'),
		('in-default', 'x', '{}', '{}', 2, 1, '', '', 0, 0, 0, 0, '', 0, '[]')`
	s := ofVersion(t, 7, func(db *sql.DB) error {
		_, err := db.ExecContext(t.Context(), insert)
		return err
	})
	for queue, want := range map[string]string{"night": "in-night", "default": "in-default"} {
		page, err := s.ListJobs(t.Context(), store.JobFilter{Queue: queue, Limit: 10})
		if err != nil || len(page.Jobs) != 1 || page.Jobs[0].ID != want {
			t.Errorf("of the queue %s there are %+v, %v", queue, page.Jobs, err)
		}
	}
}
