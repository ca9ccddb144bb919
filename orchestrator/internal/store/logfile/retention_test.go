package logfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// jobs tells how attempts stand.
type jobs map[string]AttemptState

func (j jobs) state(_ context.Context, ref job.Ref) (AttemptState, error) {
	if state, ok := j[ref.JobID]; ok {
		return state, nil
	}
	return Unknown, nil
}

// keep makes a log of a job that last grew some time ago.
func keep(t *testing.T, s *Store, id string, attempt int, age time.Duration) {
	t.Helper()
	own := job.Ref{JobID: id, Attempt: attempt}
	w, err := s.Open(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	entries := many(20)
	for i := range entries {
		entries[i].Attempt = attempt
	}
	if err := w.Append(entries); err != nil {
		t.Fatal(err)
	}
	if err := w.Complete(); err != nil {
		t.Fatal(err)
	}
	shape := s.written(own)
	paths := []string{s.textPath(own, shape.text.start)}
	for _, c := range shape.chunks {
		paths = append(paths, s.chunkPath(own, c))
	}
	at := time.Now().Add(-age)
	for _, path := range paths {
		if err := os.Chtimes(path, at, at); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// left says what a reader sees of a job's log.
func left(t *testing.T, s *Store, id string) string {
	t.Helper()
	entries, position, err := s.Read(t.Context(), id, 0, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(len(entries))
	if len(entries) == 1 && entries[0].Note {
		text = entries[0].Text
		if more, _, err := s.Read(t.Context(), id, 0, position, 1000); len(more) != 0 || err != nil {
			t.Errorf("behind the note: %v, %v", more, err)
		}
	}
	return text
}

func wantLeft(t *testing.T, s *Store, want map[string]string) {
	t.Helper()
	for id, text := range want {
		if got := left(t, s, id); got != text {
			t.Errorf("of %s is left: %s, want %s", id, got, text)
		}
	}
}

const removed = "the log was removed by retention"

func TestRetentionByAge(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir(), Retention: Retention{
		Age: time.Hour, State: jobs{"old": Ended, "new": Ended, "old-live": Live}.state,
	}})
	s.chunkBytes = 200
	for id, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": time.Minute, "old-live": 2 * time.Hour, "nobodys": 2 * time.Hour} {
		keep(t, s, id, 1, age)
	}
	swept, err := s.Sweep(t.Context(), time.Now())
	if err != nil || swept.Logs != 2 || swept.Bytes == 0 || swept.Kept == 0 {
		t.Errorf("swept %+v, %v", swept, err)
	}
	wantLeft(t, s, map[string]string{"old": removed, "new": "20", "old-live": "20", "nobodys": "0"})
	if _, err := os.Stat(s.folder("nobodys")); !os.IsNotExist(err) {
		t.Errorf("the folder of a job that is not known is still there: %v", err)
	}
	// It stays so, and nobody writes there again.
	if swept, err := s.Sweep(t.Context(), time.Now()); err != nil || swept.Logs != 0 {
		t.Errorf("swept again %+v, %v", swept, err)
	}
	w, err := s.Open(t.Context(), job.Ref{JobID: "old", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Append(many(1)); fault.CodeOf(err) != fault.Precondition || err.Error() != "the log of attempt 1 of job old was removed" {
		t.Errorf("appending to a removed log: %v", err)
	}
	wantLeft(t, s, map[string]string{"old": removed})
	if err := s.DeleteJob(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, s, map[string]string{"old": "0"})
}

func TestRetentionBySize(t *testing.T) {
	states := jobs{}
	s := openIn(t, Config{Dir: t.TempDir(), Retention: Retention{MaxBytes: 1, State: states.state}})
	want := map[string]string{}
	for n := range 20 {
		id := fmt.Sprintf("job-%02d", n)
		states[id], want[id] = Ended, "20"
		keep(t, s, id, 1, time.Duration(100-n)*time.Minute)
	}
	states["job-00"] = Live
	swept, err := s.Sweep(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	// Nothing but what is live can be kept.
	if swept.Logs != 19 || swept.Kept != swept.Bytes/19 {
		t.Errorf("swept %+v", swept)
	}
	wantLeft(t, s, map[string]string{"job-00": "20", "job-01": removed, "job-19": removed})

	s = openIn(t, Config{Dir: t.TempDir(), Retention: Retention{MaxBytes: 10 * swept.Kept, State: states.state}})
	for id := range want {
		var n int
		if _, err := fmt.Sscanf(id, "job-%d", &n); err != nil {
			t.Fatal(err)
		}
		keep(t, s, id, 1, time.Duration(100-n)*time.Minute)
	}
	if swept, err = s.Sweep(t.Context(), time.Now()); err != nil || swept.Logs != 11 {
		t.Errorf("swept %+v, %v", swept, err)
	}
	wantLeft(t, s, map[string]string{"job-00": "20", "job-01": removed, "job-11": removed, "job-12": "20", "job-19": "20"})
}

// Of a job whose first attempt has ended only that one's log goes.
func TestRetentionOfOneAttempt(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir(), Retention: Retention{Age: time.Hour, State: func(_ context.Context, ref job.Ref) (AttemptState, error) {
		if ref.Attempt == 1 {
			return Ended, nil
		}
		return Live, nil
	}}})
	keep(t, s, "j", 1, 2*time.Hour)
	keep(t, s, "j", 2, 2*time.Hour)
	if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	entries, position, err := s.Read(t.Context(), "j", 0, "", 1000)
	if err != nil || len(entries) != 1 || entries[0].Text != removed || entries[0].Attempt != 1 {
		t.Errorf("first %v, %v", entries, err)
	}
	if entries, _, err = s.Read(t.Context(), "j", 0, position, 1000); err != nil || len(entries) != 20 || entries[0].Attempt != 2 {
		t.Errorf("then %d entries, %v", len(entries), err)
	}
	position, err = s.Tail(t.Context(), "j", 0, 21)
	if err != nil || position != "1:0" {
		t.Errorf("the tail begins at %q, %v", position, err)
	}
}

func TestRetentionRunsByItself(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openIn(t, Config{Dir: dir, Retention: Retention{Age: time.Hour, State: jobs{"j": Ended}.state}})
		keep(t, s, "j", 1, 0)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		wantLeft(t, s, map[string]string{"j": "20"})
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		wantLeft(t, s, map[string]string{"j": removed})
		s.Close()
	})
}

func TestRetentionThatCannotAsk(t *testing.T) {
	broken := errors.New("the database is away")
	s := openIn(t, Config{Dir: t.TempDir(), Retention: Retention{Age: time.Hour, State: func(context.Context, job.Ref) (AttemptState, error) { return 0, broken }}})
	keep(t, s, "j", 1, 2*time.Hour)
	if _, err := s.Sweep(t.Context(), time.Now()); !errors.Is(err, broken) {
		t.Errorf("swept: %v", err)
	}
	wantLeft(t, s, map[string]string{"j": "20"})
	if _, err := Open(Config{Dir: t.TempDir(), Retention: Retention{Age: time.Hour}}); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("opened without knowing how attempts stand: %v", err)
	}
}
