package sqlite

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// TestDrainIsTakenOver opens a database of the first schema, in which drain
// was a flag.
func TestDrainIsTakenOver(t *testing.T) {
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
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	const insert = `INSERT INTO nodes (id, hostname, agent_labels, user_labels, drain, agent_version, address, capabilities, registered_at, last_seen_at)
		VALUES (?, 'h', '{}', '{}', ?, '', '', '{}', 1, 1)`
	for id, drain := range map[string]int{"drained": 1, "free": 0} {
		if _, err := db.ExecContext(t.Context(), insert, id, drain); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openIn(t, dir)
	defer s.Close()
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
