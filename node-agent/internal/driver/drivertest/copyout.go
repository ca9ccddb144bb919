package drivertest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// copyOut gives what lies at a path, as "KIND CONTENT" by path.
func (s *suite) copyOut(t *testing.T, id, path string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := s.Driver.CopyOut(testContext(t), id, path, func(f *driver.Copied) error {
		switch f.Kind {
		case driver.CopiedFile:
			content, err := io.ReadAll(f.Content)
			if err != nil || int64(len(content)) != f.Size {
				return fmt.Errorf("%s: read %d bytes of %d: %w", f.Path, len(content), f.Size, err)
			}
			found[f.Path] = fmt.Sprintf("file %o %s", f.Mode, content)
		case driver.CopiedSame:
			found[f.Path] = "same " + f.SameAs
		case driver.CopiedFolder:
			found[f.Path] = "folder"
		default:
			found[f.Path] = "other"
		}
		return nil
	})
	if err != nil {
		t.Fatalf("CopyOut(%q): %v", path, err)
	}
	return found
}

func wantFound(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if want[path] != got[path] {
			t.Errorf("%s: %q is %q, want %q", what, path, got[path], want[path])
		}
	}
	for path := range want {
		if _, there := got[path]; !there {
			t.Errorf("%s: %q is missing", what, path)
		}
	}
}

// testCopyOut: files can be copied out of a container that runs, and of one that has ended.
func (s *suite) testCopyOut(t *testing.T) {
	ctx := testContext(t)
	id := s.create(t, s.spec("write", "/out/deep/b", "bbb", "out", "written", "wait"))
	err := s.Driver.PutFiles(ctx, id, []driver.File{
		{Path: "/out/a", Content: []byte("a\x00a"), Mode: 0o640}, {Path: "/out/deep/empty", Mode: 0o600}, {Path: "/outside", Mode: 0o600},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Driver.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	s.waitForLog(t, id, "written")
	for _, state := range []string{"running", "ended"} {
		wantFound(t, state, map[string]string{
			"/out": "folder", "/out/a": "file 640 a\x00a", "/out/deep": "folder",
			"/out/deep/b": "file 600 bbb", "/out/deep/empty": "file 600 ",
		}, s.copyOut(t, id, "/out"))
		wantFound(t, state, map[string]string{"/out/deep/b": "file 600 bbb"}, s.copyOut(t, id, "/out/deep/b"))
		if err := s.Driver.Kill(ctx, id); err != nil {
			t.Fatal(err)
		}
		s.wait(t, id)
	}

	enough := errors.New("enough")
	n := 0
	err = s.Driver.CopyOut(ctx, id, "/out", func(*driver.Copied) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("after %d: %v", n, err)
	}
	nothing := func(*driver.Copied) error { return errors.New("something came") }
	for _, path := range []string{"/out/none", "/none", "/out/a/below"} {
		wantError(t, s.Driver.CopyOut(ctx, id, path, nothing), driver.CodeNoFile, "copy files out of container", "there is no "+path)
	}
	wantError(t, s.Driver.CopyOut(ctx, s.name("none"), "/out", nothing), driver.CodeNotFound, "copy files out of container")
	for _, path := range []string{"out", "/out/../etc", "/", ""} {
		wantError(t, s.Driver.CopyOut(ctx, id, path, nothing), driver.CodeInvalid, "path:")
	}
}

// testCopyOutHostile: what is no file is not taken for one, and links lead nowhere.
func (s *suite) testCopyOutHostile(t *testing.T) {
	id := s.start(t, s.spec("hostile", "/tmp/h"))
	if exit := s.wait(t, id); exit.Code != 0 {
		t.Fatalf("exit = %+v, log %+v", exit, s.log(t, id, driver.LogOptions{}))
	}
	got := s.copyOut(t, id, "/tmp/h")
	// Which of two names of one file comes first is the engine's affair.
	if got["/tmp/h/plain"] == "same /tmp/h/same" {
		got["/tmp/h/plain"], got["/tmp/h/same"] = strings.Replace(got["/tmp/h/same"], "same", "plain", 1), "same /tmp/h/plain"
	}
	delete(got, "/tmp/h/socket") // left out, or something without content
	long := "..." + strings.Repeat("x", 250)
	wantFound(t, "hostile", map[string]string{
		"/tmp/h": "folder", "/tmp/h/closed": "folder", "/tmp/h/closed/file": "file 0 closed/file", "/tmp/h/plain": "file 640 plain",
		"/tmp/h/setuid": "file 755 setuid", "/tmp/h/line\nbreak": "file 600 line\nbreak", "/tmp/h/not\xffutf8": "file 600 not\xffutf8",
		"/tmp/h/..dots": "file 600 ..dots", "/tmp/h/" + long: "file 600 " + long, "/tmp/h/same": "same /tmp/h/plain",
		"/tmp/h/absolute": "other", "/tmp/h/leaves": "other", "/tmp/h/stays": "other", "/tmp/h/circle": "other",
		"/tmp/h/dangling": "other", "/tmp/h/pipe": "other",
	}, got)
	for _, link := range []string{"/tmp/h/stays", "/tmp/h/circle"} {
		wantFound(t, "a link itself", map[string]string{link: "other"}, s.copyOut(t, id, link))
	}
	for _, link := range []string{"/tmp/h/absolute", "/tmp/h/leaves", "/tmp/h/dangling"} {
		err := s.Driver.CopyOut(testContext(t), id, link, func(f *driver.Copied) error {
			if f.Kind != driver.CopiedOther || f.Path != link {
				t.Errorf("a link to what is not there is %+v", f)
			}
			return nil
		})
		if err != nil { // Podman looks where it leads
			wantError(t, err, driver.CodeNoFile, "there is no "+link)
		}
	}
}

// testCopyOutMuch: whoever has enough of many files, or of one that is larger than any
// disk, need not wait for the rest.
func (s *suite) testCopyOutMuch(t *testing.T) {
	ctx := testContext(t)
	const size = 1 << 40
	id := s.start(t, s.spec("many", "/tmp/many", "20000", "sparse", "/tmp/sparse", fmt.Sprint(int64(size))))
	if exit := s.wait(t, id); exit.Code != 0 {
		t.Fatalf("exit = %+v, log %+v", exit, s.log(t, id, driver.LogOptions{}))
	}
	enough := errors.New("enough")
	n := 0
	err := s.Driver.CopyOut(ctx, id, "/tmp/many", func(f *driver.Copied) error {
		if f.Kind == driver.CopiedFile {
			n++
		}
		if n == 10_000 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("after %d files: %v", n, err)
	}
	err = s.Driver.CopyOut(ctx, id, "/tmp/sparse", func(f *driver.Copied) error {
		if f.Size != size {
			t.Errorf("a sparse file has %d bytes, want %d", f.Size, int64(size))
		}
		if _, err := io.CopyN(io.Discard, f.Content, 1<<20); err != nil {
			return err
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("a sparse file: %v", err)
	}
}

// testCopyOutVolume: what lies in a volume is copied, too.
func (s *suite) testCopyOutVolume(t *testing.T) {
	name := s.name("copied")
	if err := s.Driver.CreateVolume(testContext(t), name, map[string]string{testLabel: s.run}); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("write", "/data/file", "kept", "hostile", "/data/deep/h")
	spec.Mounts = []driver.Mount{{Kind: driver.MountVolume, Source: name, Target: "/data"}}
	id := s.start(t, spec)
	if exit := s.wait(t, id); exit.Code != 0 {
		t.Fatalf("exit = %+v", exit)
	}
	got := s.copyOut(t, id, "/data")
	maps.DeleteFunc(got, func(path, _ string) bool { return strings.HasPrefix(path, "/data/deep/h/") })
	wantFound(t, "a folder of a volume", map[string]string{
		"/data": "folder", "/data/file": "file 600 kept", "/data/deep": "folder", "/data/deep/h": "folder",
	}, got)
	wantFound(t, "a link of a volume", map[string]string{"/data/deep/h/stays": "other"}, s.copyOut(t, id, "/data/deep/h/stays"))
	wantFound(t, "a file of a volume", map[string]string{"/data/file": "file 600 kept"}, s.copyOut(t, id, "/data/file"))
}
