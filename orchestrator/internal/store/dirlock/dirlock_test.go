package dirlock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// helperEnv makes the test binary hold the lock of a directory until its input
// ends.
const helperEnv = "DIRLOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	dir := os.Getenv(helperEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if _, err := Acquire(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), helperEnv+"="+dir)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}

	_, err = Acquire(dir)
	want := fmt.Sprintf("the data directory %s is in use by another orchestrator (process %d); stop that one, or give this one a directory of its own with --data-dir", dir, holder.Process.Pid)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.Unavailable || f.Public() != want {
		t.Errorf("got %v,\nwant Unavailable: %s", err, want)
	}

	// A killed process holds nothing.
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(dir); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a second lock in one process answered %v", err)
	}
	if err := errors.Join(lock.Release(), lock.Release()); err != nil {
		t.Error(err)
	}
	again, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

func TestDirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(filepath.Join(file, "dir")); err == nil || !strings.HasPrefix(err.Error(), "making the data directory: ") {
		t.Errorf("got %v", err)
	}
}
