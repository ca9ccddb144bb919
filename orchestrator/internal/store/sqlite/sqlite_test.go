package sqlite

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if runCrashChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// openIn opens a store in a directory; the test closes it.
func openIn(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openClosing opens a store of its own that is closed with the test.
func openClosing(t testing.TB) *Store {
	t.Helper()
	s := openIn(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	dirs := map[store.Store]string{}
	storetest.Run(t, storetest.Implementation{
		Open: func(t *testing.T) store.Store {
			dir := t.TempDir()
			s := openIn(t, dir)
			dirs[s] = dir
			return s
		},
		Reopen: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openIn(t, dirs[s])
		},
	})
}
