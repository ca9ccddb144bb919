package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// crashEnv makes the test binary a process that changes jobs in a directory
// until it is killed, and prints each change once it was answered.
const crashEnv = "SQLITE_TEST_CRASH_DIR"

// crashClients is how many goroutines of the child change jobs.
const crashClients = 8

func runCrashChild() bool {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		return false
	}
	s, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	run := os.Getpid()
	var group sync.WaitGroup
	for client := range crashClients {
		group.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("job-%d-%d-%d", run, client, n)
				if err := oneLife(s, id, func(state job.State) { fmt.Println(id, int(state)) }); err != nil {
					fmt.Println("error", err)
					return
				}
			}
		})
	}
	group.Wait()
	return true
}

// oneLife takes a job from submission to its end.
func oneLife(s *Store, id string, answered func(job.State)) error {
	ctx, now := context.Background(), time.Unix(1_900_000_000, 0)
	j, _, err := s.SubmitJob(ctx, job.Job{ID: id, Name: id, CreatedAt: now, Labels: map[string]string{"crash": "test"}, Spec: job.Spec{Container: &job.Container{Image: "x"}}})
	if err != nil {
		return err
	}
	answered(j.State)
	if j, err = s.ClaimJob(ctx, id, "n1", now); err != nil {
		return err
	}
	answered(j.State)
	ref := job.Ref{JobID: id, Attempt: 1}
	if j, err = s.StartAttempt(ctx, ref, now); err != nil {
		return err
	}
	answered(j.State)
	if j, err = s.CompleteAttempt(ctx, ref, job.End{State: job.AttemptSucceeded, At: now}); err != nil {
		return err
	}
	answered(j.State)
	return nil
}

// TestKilledProcessLosesNothingItAnswered kills a busy process several times
// and holds the store to everything that was answered. (A killed process leaves
// the page cache whole: this is about our own acknowledging, not about disks.)
func TestKilledProcessLosesNothingItAnswered(t *testing.T) {
	dir := t.TempDir()
	answered := map[string]job.State{}
	for kill := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashEnv+"="+dir)
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		// What the child printed before it was killed counts, to the last line;
		// a line that was cut off by the kill was not printed.
		for n := 0; lines.Scan(); n++ {
			line := lines.Text()
			if strings.HasPrefix(line, "error") {
				t.Error(line)
			}
			var id string
			var state int
			if count, err := fmt.Sscanf(line, "%s %d", &id, &state); err == nil && count == 2 {
				answered[id] = job.State(state)
			}
			if n == 200+kill*137 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait() // says that it was killed

		s := openIn(t, dir)
		for id, state := range answered {
			j, err := s.GetJob(t.Context(), id)
			if err != nil {
				t.Errorf("kill %d: %v, which was answered as %s", kill, err, state)
			} else if j.State < state {
				t.Errorf("kill %d: job %s is %s and was answered as %s", kill, id, j.State, state)
			}
		}
		var damage string
		if err := s.read.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&damage); err != nil || damage != "ok" {
			t.Errorf("kill %d: integrity check: %s, %v", kill, damage, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(answered) < 5*200/4 {
		t.Errorf("only %d jobs were answered: the test showed nothing", len(answered))
	}
}
