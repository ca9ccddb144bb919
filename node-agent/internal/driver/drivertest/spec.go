package drivertest

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

func (s *suite) testFiles(t *testing.T) {
	ctx := testContext(t)
	id := s.create(t, s.spec("read", "/work/deep/input.txt", "read", "/tmp/empty", "read", "/work/opened"))
	files := []driver.File{
		{Path: "/work/deep/input.txt", Content: []byte("hello\x00world"), Mode: 0o644},
		{Path: "/tmp/empty", Mode: 0o600},
		{Path: "/work/opened", Mode: 0o644, Size: 6, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("opened and more")), nil
		}},
	}
	if err := s.Driver.PutFiles(ctx, id, files); err != nil {
		t.Fatal(err)
	}
	if err := s.Driver.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	if exit := s.wait(t, id); exit.Code != 0 {
		t.Errorf("exit = %+v, log %+v", exit, s.log(t, id, driver.LogOptions{}))
	}
	if got := s.log(t, id, driver.LogOptions{}); len(got) != 3 || got[0].Text != "hello\x00world" || got[1].Text != "" || got[2].Text != "opened" {
		t.Errorf("read back %+v", got)
	}

	wantError(t, s.Driver.PutFiles(ctx, id, []driver.File{{Path: "/a/../b"}}), driver.CodeInvalid, "files:", "/a/../b")
	broken := errors.New("cannot be read")
	opened := driver.File{Path: "/work/broken", Size: 1, Open: func() (io.ReadCloser, error) { return nil, broken }}
	if err := s.Driver.PutFiles(ctx, id, []driver.File{opened}); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	opened.Content = []byte("x")
	wantError(t, s.Driver.PutFiles(ctx, id, []driver.File{opened}), driver.CodeInvalid, "files:", "/work/broken")
	wantError(t, s.Driver.PutFiles(ctx, id, []driver.File{{Path: "/a", Mode: fs.ModeSetuid}}), driver.CodeInvalid, "permissions only")
	wantError(t, s.Driver.PutFiles(ctx, s.name("none"), files), driver.CodeNotFound, "put files into container")
}

// testFileOwners: files have the owner and mode that they were given, whoever the container
// runs as, and folders that were there keep theirs.
func (s *suite) testFileOwners(t *testing.T) {
	ctx := testContext(t)
	spec := s.spec("whoami", "read", "/tmp/mine", "stat", "/tmp/mine", "stat", "/tmp", "stat", "/new/folder", "read", "/new/folder/file", "write", "/tmp/more", "x")
	spec.User = "1234:2345"
	id := s.create(t, spec)
	err := s.Driver.PutFiles(ctx, id, []driver.File{
		{Path: "/tmp/mine", Content: []byte("secret"), Mode: 0o400, UID: 1234, GID: 2345},
		{Path: "/new/folder/file", Content: []byte("shared"), Mode: 0o644},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Driver.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	exit := s.wait(t, id)
	var lines []string
	for _, e := range s.log(t, id, driver.LogOptions{}) {
		lines = append(lines, e.Text)
	}
	got := strings.Join(lines, "; ")
	if want := "1234:2345; secret; 400 1234:2345; 777 0:0; 755 0:0; shared"; exit.Code != 0 || got != want {
		t.Errorf("exit %d, %q, want %q", exit.Code, got, want)
	}
}

func (s *suite) testTmpfs(t *testing.T) {
	spec := s.spec("write", "/scratch/file", "x", "fill", "/scratch/large", "2097152", "stat", "/scratch")
	spec.User = "1000"
	spec.Tmpfs = []driver.Tmpfs{{Target: "/scratch", SizeBytes: 1 << 20}}
	if got := s.output(t, spec); got != "full\n777 0:0\n" {
		t.Errorf("output = %q, want that 1 MiB is full", got)
	}
}

func (s *suite) testWorkDir(t *testing.T) {
	spec := s.spec("whereami")
	spec.WorkDir = "/some/where"
	if got := s.output(t, spec); got != "/some/where\n" {
		t.Errorf("output = %q", got)
	}
}

// testDisk: a bound on the disk is kept where the engine can, and never keeps a container
// from running.
func (s *suite) testDisk(t *testing.T) {
	spec := s.spec("fill", "/tmp/large", "33554432")
	spec.Resources.DiskBytes = 16 << 20
	got := s.output(t, spec)
	if got != "full\n" && got != "written\n" {
		t.Errorf("output = %q", got)
	}
	t.Logf("a container that may write 16 MiB and writes 32: %s", strings.TrimSpace(got))
}

// testForks: a container that makes processes without end reaches its limit, and is stopped
// with all of them.
func (s *suite) testForks(t *testing.T) {
	const most = 64
	spec := s.spec("ignore-term", "fork", "out", "ready", "wait")
	spec.Resources.PIDs = most
	id := s.start(t, spec)
	s.waitForLog(t, id, "ready")
	stats, err := s.Driver.Stats(testContext(t), id)
	if err != nil {
		t.Fatal(err)
	}
	if stats.PIDs < most/4 || stats.PIDs > most {
		t.Errorf("%d processes and threads, want about %d and no more", stats.PIDs, most)
	}
	began := time.Now()
	if err := s.Driver.Stop(testContext(t), id, time.Second); err != nil {
		t.Fatal(err)
	}
	if exit := s.wait(t, id); exit.Code != 137 {
		t.Errorf("exit = %+v, want code 137", exit)
	}
	t.Logf("stopping it took %s with a grace of 1s", time.Since(began).Round(time.Millisecond))
}
