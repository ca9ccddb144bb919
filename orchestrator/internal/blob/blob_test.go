package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func digestOf(content []byte) Digest {
	sum := sha256.Sum256(content)
	return DigestOf(sum[:])
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, content string) Digest {
	t.Helper()
	digest := digestOf([]byte(content))
	if size, err := s.Put(t.Context(), digest, strings.NewReader(content)); err != nil || size != int64(len(content)) {
		t.Fatalf("put: %d, %v", size, err)
	}
	return digest
}

func read(t *testing.T, s *Store, digest Digest) string {
	t.Helper()
	file, err := s.Open(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// files counts the files below a folder.
func files(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantFault(t *testing.T, err error, code fault.Code, message string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code || f.Public() != message {
		t.Errorf("got %v, want code %d with %q", err, code, message)
	}
}

// The store holds what a map would, whatever is done in which order, and
// whenever it is opened anew.
func TestModel(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		dir := outer.TempDir()
		const limit = 20 + 4*perBlob
		cfg := Config{Dir: dir, MaxBytes: 8, StoreMaxBytes: limit}
		s := open(outer, cfg)
		want, used := map[Digest]string{}, map[Digest]bool{}
		content := rapid.SampledFrom([]string{"", "a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "hhhhhhhh", "iiiiiiiii"})
		total := func() (n int64) {
			for _, text := range want {
				n += int64(len(text)) + perBlob
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				text := content.Draw(t, "content")
				digest := digestOf([]byte(text))
				_, err := s.Put(outer.Context(), digest, strings.NewReader(text))
				switch {
				case total()+perBlob > limit:
					if fault.CodeOf(err) != fault.Exhausted {
						t.Fatalf("got %v", err)
					}
				case len(text) > 8:
					if !IsTooLarge(err) {
						t.Fatalf("got %v", err)
					}
				case total()+int64(len(text))+perBlob > limit:
					if fault.CodeOf(err) != fault.Exhausted {
						t.Fatalf("got %v", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					want[digest] = text
				}
			},
			"add": func(t *rapid.T) {
				text := content.Draw(t, "content")
				digest, size, err := s.Add(outer.Context(), strings.NewReader(text))
				if err == nil && (digest != digestOf([]byte(text)) || size != int64(len(text))) {
					t.Fatalf("%s, %d", digest, size)
				}
				if err == nil {
					want[digest] = text
				} else if fault.CodeOf(err) != fault.Exhausted {
					t.Fatal(err)
				}
			},
			"put something else": func(t *rapid.T) {
				_, err := s.Put(outer.Context(), digestOf([]byte("x")), strings.NewReader("y"))
				if code := fault.CodeOf(err); code != fault.Invalid && code != fault.Exhausted {
					t.Fatalf("got %v", err)
				}
			},
			"use": func(t *rapid.T) {
				text := content.Draw(t, "content")
				digest := digestOf([]byte(text))
				_, there := want[digest]
				size, err := s.Use(digest)
				if there != (err == nil) || there && size != int64(len(text)) || !there && fault.CodeOf(err) != fault.NotFound {
					t.Fatalf("%d, %v", size, err)
				}
			},
			"refer": func(t *rapid.T) {
				digest := digestOf([]byte(content.Draw(t, "content")))
				used[digest] = !used[digest]
			},
			"sweep": func(t *rapid.T) {
				_, err := s.Sweep(outer.Context(), time.Now().Add(time.Hour), func(_ context.Context, list []Digest) (map[Digest]bool, error) {
					return used, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for digest := range want {
					if !used[digest] {
						delete(want, digest)
					}
				}
			},
			"reopen": func(*rapid.T) { s = open(outer, cfg) },
			"": func(t *rapid.T) {
				for digest, text := range want {
					if got := read(outer, s, digest); got != text {
						t.Fatalf("%s holds %q, want %q", digest, got, text)
					}
				}
				if n := files(outer, dir); n != len(want) || s.Bytes() != total() {
					t.Fatalf("%d files of %d bytes, want %d of %d", n, s.Bytes(), len(want), total())
				}
			},
		})
	})
}

// What was being written when the orchestrator was killed is gone, and nothing
// that breaks off leaves anything.
func TestNothingHalf(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	broken := errors.New("the line went dead")
	_, err := s.Put(t.Context(), digestOf(nil), io.MultiReader(strings.NewReader("half"), failing{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, digestOf([]byte("a")), strings.NewReader("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_, err = s.Put(t.Context(), digestOf([]byte("wanted")), strings.NewReader("given"))
	wantFault(t, err, fault.Invalid, fmt.Sprintf("digest: is %s, but the 5 bytes of content are %s", digestOf([]byte("wanted")), digestOf([]byte("given"))))
	if n := files(t, dir); n != 0 || s.Bytes() != 0 {
		t.Errorf("%d files, %d bytes are left", n, s.Bytes())
	}

	if err := os.WriteFile(filepath.Join(dir, incoming, "123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: dir})
	if n := files(t, dir); n != 0 {
		t.Errorf("%d files are left after a restart", n)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLimits(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxBytes: 4, StoreMaxBytes: 6 + 2*perBlob})
	_, _, err := s.Add(t.Context(), strings.NewReader("12345"))
	wantFault(t, err, fault.Exhausted, "the content has more than 4 bytes, which is the most that one blob may have; the orchestrator's --blob-max-bytes says so")
	put(t, s, "1234")
	_, _, err = s.Add(t.Context(), strings.NewReader("abc"))
	wantFault(t, err, fault.Exhausted, "the store of blobs is full: all together may have 8198 bytes, as the orchestrator's --blob-store-max-bytes says")
	put(t, s, "ab")
	if s.Bytes() != 6+2*perBlob {
		t.Errorf("%d bytes", s.Bytes())
	}
}

// Many who store the same at once all succeed, and it is there once.
func TestRacingPuts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	content := bytes.Repeat([]byte("orchion "), 20_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Put(t.Context(), digestOf(content), bytes.NewReader(content)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := files(t, dir); n != 1 || s.Bytes() != int64(len(content))+perBlob {
		t.Errorf("%d files, %d bytes", n, s.Bytes())
	}
}

// A blob that is wanted between the question who uses it and its removal stays.
func TestSweepKeepsWhatIsWantedMeanwhile(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	wanted, unwanted := put(t, s, "wanted"), put(t, s, "unwanted")
	long := time.Now().Add(-2 * Grace)
	for _, digest := range []Digest{wanted, unwanted} {
		if err := os.Chtimes(s.path(digest), long, long); err != nil {
			t.Fatal(err)
		}
	}
	fresh := put(t, s, "fresh")
	removed, err := s.Sweep(t.Context(), time.Now().Add(-Grace), func(_ context.Context, list []Digest) (map[Digest]bool, error) {
		if len(list) != 2 {
			t.Errorf("asked for %v", list)
		}
		_, err := s.Use(wanted)
		return nil, err
	})
	if removed != 1 || err != nil || !s.Has(wanted) || !s.Has(fresh) || s.Has(unwanted) {
		t.Errorf("removed %d, %v", removed, err)
	}
	_, err = s.Open(unwanted)
	wantFault(t, err, fault.NotFound, "there is no blob "+string(unwanted))
	failure := errors.New("the store is away")
	_, err = s.Sweep(t.Context(), time.Now().Add(Grace), func(context.Context, []Digest) (map[Digest]bool, error) { return nil, failure })
	if !errors.Is(err, failure) || !s.Has(fresh) {
		t.Errorf("got %v", err)
	}
}

func TestParseDigest(t *testing.T) {
	good := "sha256:" + strings.Repeat("0a", 32)
	for text, want := range map[string]bool{
		good: true, good[7:]: false, "": false, good + "0": false, strings.ToUpper(good): false,
		"sha256:" + strings.Repeat("../", 21) + "a": false, "sha512:" + good[7:]: false,
	} {
		if _, ok := ParseDigest(text); ok != want {
			t.Errorf("%q: %v", text, ok)
		}
	}
}
