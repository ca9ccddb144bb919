package driver_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// slowArchive gives one file, so much in a minute, and what is not read of it passes by before
// it ends.
type slowArchive struct {
	driver.Driver
	minutes int
	hangs   bool // after that
}

func (s *slowArchive) CopyOut(ctx context.Context, _, path string, take func(*driver.Copied) error) error {
	content := readerFunc(func(p []byte) (int, error) {
		if s.minutes == 0 && s.hangs {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		if s.minutes == 0 {
			return 0, io.EOF
		}
		s.minutes--
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Minute):
			return 1, nil
		}
	})
	if err := take(&driver.Copied{Path: path, Kind: driver.CopiedFile, Content: content}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, content)
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What is not wanted takes its time, too.
func TestPassingOverALargeFileIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hangs := range []bool{false, true} {
			d := driver.Impatient(&slowArchive{minutes: 30, hangs: hangs})
			err := d.CopyOut(t.Context(), "c", "/out", func(*driver.Copied) error { return nil })
			if hangs != (driver.CodeOf(err) == driver.CodeTimeout) || !hangs && err != nil {
				t.Errorf("with an engine that hangs in the end, %v: %v", hangs, err)
			}
		}
		unwanted := errors.New("enough")
		d := driver.Impatient(&slowArchive{minutes: 30})
		began := time.Now()
		if err := d.CopyOut(t.Context(), "c", "/out", func(*driver.Copied) error { return unwanted }); !errors.Is(err, unwanted) || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
