package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

var epoch = time.Unix(1_900_000_000, 0).UTC()

func simpleJob(id string) job.Job {
	return job.Job{ID: id, CreatedAt: epoch, Spec: job.Spec{Container: &job.Container{Image: "x"}}}
}

// block keeps the writer busy until the answer is called.
func block(t *testing.T, s *Store) (release func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- s.change(context.Background(), oneStatement, func(*tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	return func() {
		close(leave)
		if err := <-result; err != nil {
			t.Errorf("the blocking operation: %v", err)
		}
	}
}

// waitQueued waits until so many operations wait for the writer.
func waitQueued(t *testing.T, s *Store, n int) {
	t.Helper()
	for len(s.writer.queue) < n {
		if t.Context().Err() != nil {
			t.Fatal("the test ended")
		}
		runtime.Gosched()
	}
}

func TestWaitingOperationsShareACommit(t *testing.T) {
	s := openClosing(t)
	release := block(t, s)
	before := s.Stats()
	var group sync.WaitGroup
	errs := make([]error, 50)
	for n := range errs {
		group.Go(func() { _, _, errs[n] = s.SubmitJob(t.Context(), simpleJob(fmt.Sprintf("j%d", n))) })
	}
	waitQueued(t, s, len(errs))
	release()
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	// One commit for the blocking operation, one for all that waited.
	if ops, commits := after.Operations-before.Operations, after.Commits-before.Commits; ops != 51 || commits != 2 {
		t.Errorf("%d operations took %d commits, want 51 and 2", ops, commits)
	}
}

func TestOperationsOfABatchFailAlone(t *testing.T) {
	s := openClosing(t)
	if _, _, err := s.SubmitJob(t.Context(), simpleJob("taken")); err != nil {
		t.Fatal(err)
	}
	release := block(t, s)
	var group sync.WaitGroup
	var good, halfway, duplicate, missing error
	group.Go(func() { _, _, good = s.SubmitJob(t.Context(), simpleJob("good")) })
	group.Go(func() {
		halfway = s.change(t.Context(), severalStatements, func(t *tx) error {
			if err := t.exec("UPDATE jobs SET name = 'overwritten'"); err != nil {
				return err
			}
			return fault.New(fault.Precondition, "changed my mind")
		})
	})
	group.Go(func() { _, _, duplicate = s.SubmitJob(t.Context(), simpleJob("taken")) })
	group.Go(func() { _, missing = s.ClaimJob(t.Context(), "none", "n1", epoch) })
	waitQueued(t, s, 4)
	release()
	group.Wait()
	if good != nil {
		t.Errorf("the good one: %v", good)
	}
	if fault.CodeOf(halfway) != fault.Precondition || fault.CodeOf(duplicate) != fault.AlreadyExists || fault.CodeOf(missing) != fault.NotFound {
		t.Errorf("the bad ones: %v; %v; %v", halfway, duplicate, missing)
	}
	for _, id := range []string{"good", "taken"} {
		if j, err := s.GetJob(t.Context(), id); err != nil || j.Name != "" {
			t.Errorf("job %s: name %q, %v", id, j.Name, err)
		}
	}
}

func TestCancelledWhileItWaits(t *testing.T) {
	s := openClosing(t)
	release := block(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, _, err := s.SubmitJob(ctx, simpleJob("late"))
		result <- err
	}()
	waitQueued(t, s, 1)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	release()
	if _, err := s.GetJob(t.Context(), "late"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a change that was taken back was made: %v", err)
	}
}

func TestCancelledWhileItRuns(t *testing.T) {
	s := openClosing(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.change(ctx, oneStatement, func(t *tx) error {
		cancel()
		return t.exec(`INSERT INTO nodes (id, hostname, agent_labels, user_labels, agent_version, address, capabilities, registered_at, last_seen_at)
			VALUES ('n1', '', 'null', 'null', '', '', '{}', 0, 0)`)
	})
	if err != nil {
		t.Errorf("a change that was begun answers %v, want its result", err)
	}
	if nodes, err := s.ListNodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("%v, %v", nodes, err)
	}
}

func TestCloseLetsWaitingChangesThrough(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	release := block(t, s)
	result := make(chan error, 1)
	go func() {
		_, _, err := s.SubmitJob(t.Context(), simpleJob("waiting"))
		result <- err
	}()
	waitQueued(t, s, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	release()
	if err := <-result; err != nil {
		t.Errorf("the waiting change: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("closing: %v", err)
	}
	s = openIn(t, dir)
	defer s.Close()
	if _, err := s.GetJob(t.Context(), "waiting"); err != nil {
		t.Error(err)
	}
}

// A full disk, as SQLite sees it, refuses changes until there is room again;
// reads and what was answered are untouched.
func TestFullDisk(t *testing.T) {
	s := openClosing(t)
	if _, _, err := s.SubmitJob(t.Context(), simpleJob("before")); err != nil {
		t.Fatal(err)
	}
	limit := func(pages string) {
		t.Helper()
		if err := s.change(t.Context(), oneStatement, func(t *tx) error { return t.exec("PRAGMA max_page_count = " + pages) }); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // SQLite makes that as many as there are
	big := simpleJob("big")
	big.Spec.Container.Env = map[string]string{"A": strings.Repeat("x", 1<<20)}
	release := block(t, s)
	var group sync.WaitGroup
	var bigErr, claimErr error
	group.Go(func() { _, claimErr = s.ClaimJob(t.Context(), "before", "n1", epoch) })
	waitQueued(t, s, 1)
	group.Go(func() { _, _, bigErr = s.SubmitJob(t.Context(), big) })
	waitQueued(t, s, 2)
	release()
	group.Wait()
	const want = "the disk with the data directory is full; nothing was changed; free some space and try again"
	for name, err := range map[string]error{"the job that does not fit": bigErr, "the claim in the same transaction": claimErr} {
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.Unavailable || f.Public() != want {
			t.Errorf("%s: got %v, want Unavailable: %s", name, err, want)
		}
	}
	if j, err := s.GetJob(t.Context(), "before"); err != nil || j.State != job.Queued {
		t.Errorf("reading on a full disk: %s, %v", j.State, err)
	}
	limit("1000000")
	if j, err := s.ClaimJob(t.Context(), "before", "n1", epoch); err != nil || len(j.Attempts) != 1 {
		t.Errorf("once there is room: %+v, %v", j, err)
	}
	if _, _, err := s.SubmitJob(t.Context(), big); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

func TestOpenRefusals(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	_, err := Open(t.Context(), Config{Dir: dir})
	if fault.CodeOf(err) != fault.Unavailable || !strings.HasPrefix(err.Error(), "the data directory "+dir+" is in use by another orchestrator (process ") {
		t.Errorf("a second store on one directory: %v", err)
	}
	// As a newer version would leave it.
	err = s.change(t.Context(), oneStatement, func(t *tx) error {
		return t.exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Config{Dir: dir})
	if fault.CodeOf(err) != fault.Precondition || !strings.Contains(err.Error(), "was written by a newer version of the orchestrator (schema 99; this one knows ") || !strings.HasSuffix(err.Error(), "): use that version, or another --data-dir") {
		t.Errorf("a newer schema: %v", err)
	}
	if _, err = Open(t.Context(), Config{}); fault.CodeOf(err) != fault.Invalid || err.Error() != "dataDir: is empty; the store needs a directory" {
		t.Errorf("no directory: %v", err)
	}
}

func TestOddDirectoryNames(t *testing.T) {
	for _, name := range []string{"with space", "per%20cent", "quest?ion", "ha#sh", "ümlaut", "a&b=c"} {
		dir := t.TempDir() + "/" + name
		s := openIn(t, dir)
		if err := s.SaveNode(t.Context(), node.Known{ID: "n1"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s = openIn(t, dir)
		if nodes, err := s.ListNodes(t.Context()); err != nil || len(nodes) != 1 {
			t.Errorf("%s, reopened: %v, %v", name, nodes, err)
		}
		s.Close()
	}
}

// More live jobs than are remembered are read again, and are right.
func TestForgottenLiveJobs(t *testing.T) {
	s := openClosing(t)
	for n := range 40 {
		if _, _, err := s.SubmitJob(t.Context(), simpleJob(fmt.Sprintf("j%d", n))); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			err := s.change(t.Context(), oneStatement, func(t *tx) error { clear(t.live); return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range 40 {
		if _, err := s.ClaimJob(t.Context(), fmt.Sprintf("j%d", n), "n1", epoch); err != nil {
			t.Error(err)
		}
	}
	live := liveJobs{}
	for n := range maxLive + 10 {
		live.keep(record{job: job.Job{ID: fmt.Sprint(n), State: job.Queued}})
	}
	if len(live) != maxLive {
		t.Errorf("%d live jobs are remembered, want %d", len(live), maxLive)
	}
	// Large ones would make so many a lot of memory.
	half := strings.Repeat("x", maxLiveBytes/2)
	for name, spec := range map[string]job.Spec{
		"arguments": {Container: &job.Container{Image: "x", Command: []string{half}, Args: []string{half}}},
		"env":       {Container: &job.Container{Image: "x", Env: map[string]string{"A": half, "B": half}}},
		"chat":      {Chat: &job.Chat{Messages: []job.Message{{Content: half}, {Content: half}}}},
	} {
		fresh := liveJobs{}
		fresh.keep(record{job: job.Job{ID: name, State: job.Queued, Spec: spec}})
		if len(fresh) != 0 {
			t.Errorf("a job with large %s is remembered", name)
		}
	}
	live.keep(record{job: job.Job{ID: fmt.Sprint(maxLive + 9), State: job.Failed}})
	if len(live) != maxLive-1 {
		t.Errorf("an ended job is remembered")
	}
}

// The promise that a change answered is on the disk hangs on these settings.
func TestConnectionsAreSetUpForDurability(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	defer s.Close()
	settings := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "query_only": "0"}
	for name, want := range settings {
		var got string
		err := s.change(t.Context(), oneStatement, func(t *tx) error {
			row, err := t.row("PRAGMA " + name)
			if err != nil {
				return err
			}
			return row.Scan(&got)
		})
		if err != nil || got != want {
			t.Errorf("the writer's %s is %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := s.read.ExecContext(t.Context(), "DELETE FROM jobs"); err == nil {
		t.Error("a reading connection may write")
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(filepath.Join(dir, fileName+suffix))
		if err != nil {
			t.Error(err)
		} else if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want -rw-------: jobs carry secrets", info.Name(), info.Mode().Perm())
		}
	}
}
