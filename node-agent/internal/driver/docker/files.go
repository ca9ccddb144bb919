package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"strings"
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
	archive, err := filesArchive(files)
	if err != nil {
		return d.invalid(op, id, err)
	}
	if err := d.cli.CopyToContainer(ctx, id, "/", archive, container.CopyToContainerOptions{}); err != nil {
		return d.fail(ctx, op, id, err)
	}
	return nil
}

func filesArchive(files []driver.File) (*bytes.Buffer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	now := time.Now()
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Size: int64(len(f.Content)),
			Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID, ModTime: now,
		})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
}
