package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// PutFiles implements driver.Containers. The archive names no folders: one that is there
// keeps its owner and mode, and the engine makes those that are missing.
func (d *Driver) PutFiles(ctx context.Context, id string, files []driver.File) error {
	const op = "put files into container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	if err := driver.ValidateFiles(files); err != nil {
		return d.invalid(op, id, err)
	}
	archive, w := io.Pipe()
	var unread error // of a file that could not be read
	var wg sync.WaitGroup
	wg.Go(func() {
		unread = writeFiles(w, files)
		w.CloseWithError(unread)
	})
	err := d.cli.CopyToContainer(ctx, id, "/", archive, container.CopyToContainerOptions{})
	archive.Close() // an engine that refuses need not have read to the end
	wg.Wait()
	if unread != nil && !errors.Is(unread, io.ErrClosedPipe) {
		return fmt.Errorf("put files into container %s: %w", id, unread)
	}
	if err != nil {
		return d.fail(ctx, op, id, err)
	}
	return nil
}

func writeFiles(out io.Writer, files []driver.File) error {
	w := tar.NewWriter(out)
	now := time.Now()
	for i := range files {
		if err := writeFile(w, &files[i], now); err != nil {
			return err
		}
	}
	return w.Close()
}

func writeFile(w *tar.Writer, f *driver.File, now time.Time) error {
	content, size, err := f.Reader()
	if err != nil {
		return err
	}
	defer content.Close()
	err = w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Size: size,
		Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID, ModTime: now,
	})
	if err != nil {
		return err
	}
	if _, err := io.CopyN(w, content, size); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}
