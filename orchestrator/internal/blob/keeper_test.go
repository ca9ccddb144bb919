package blob

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A blob that nobody uses goes an hour after it was last wanted, also when it could not
// be asked who uses it for a while.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dir: t.TempDir()})
		// On the bubble's clock, as Use is; the file system's own is another.
		add := func(content string) Digest {
			digest := put(t, s, content)
			if _, err := s.Use(digest); err != nil {
				t.Fatal(err)
			}
			return digest
		}
		used, unused := add("used"), add("unused")
		var away atomic.Bool
		k, err := NewKeeper(KeeperConfig{Blobs: s, InUse: func(_ context.Context, list []Digest) (map[Digest]bool, error) {
			if away.Load() {
				return nil, errors.New("the store is away")
			}
			return map[Digest]bool{used: true}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer k.Stop()
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		wait(Grace - time.Minute)
		if !s.Has(unused) {
			t.Error("gone before its time")
		}
		away.Store(true)
		wait(time.Hour)
		if !s.Has(unused) {
			t.Error("gone although nobody could say whether it is used")
		}
		away.Store(false)
		wait(every)
		if s.Has(unused) || !s.Has(used) || s.Bytes() != int64(len("used"))+perBlob {
			t.Errorf("unused is there: %v, used: %v, %d bytes", s.Has(unused), s.Has(used), s.Bytes())
		}
		k.Stop()
		if err := k.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "was called before") {
			t.Errorf("a second start: %v", err)
		}
	})
}
