package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// CopyOut implements driver.Containers.
func (d *Driver) CopyOut(ctx context.Context, id, name string, take func(*driver.Copied) error) error {
	const op = "copy files out of container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	if err := driver.ValidateCopied(name); err != nil {
		return d.invalid(op, id, err)
	}
	archive, stat, err := d.cli.CopyFromContainer(ctx, id, name)
	if err != nil {
		return d.copyFailure(ctx, op, id, name, err)
	}
	defer archive.Close()
	link := &driver.Copied{Path: name, Kind: driver.CopiedOther, ModTime: stat.Mtime, Content: strings.NewReader("")}
	if stat.Mode&fs.ModeSymlink != 0 {
		return take(link) // Podman has followed it, Docker has not
	}
	entries := tar.NewReader(archive)
	root := "" // what the archive calls name
	for first := true; ; first = false {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.fail(ctx, op, id, fmt.Errorf("the archive of %s: %w", name, err))
		}
		if first {
			// Named as it is in its folder, but for the root of a volume, on Podman.
			if root = strings.Trim(header.Name, "/"); root != "" && root != path.Base(name) {
				return take(link) // of a volume, which Podman follows unasked
			}
		}
		found, err := copied(name, root, header)
		if err != nil {
			return d.fail(ctx, op, id, err)
		}
		reader := &contentReader{r: entries}
		found.Content = reader
		err = take(found)
		switch {
		case reader.failed != nil:
			return d.fail(ctx, op, id, fmt.Errorf("%s: %w", found.Path, reader.failed))
		case err != nil:
			return err
		}
	}
}

// contentReader tells an engine that gives a content no further from those who do not want
// more.
type contentReader struct {
	r      io.Reader
	failed error
}

func (c *contentReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

// copyFailure tells a path that is not there from a container that is not.
func (d *Driver) copyFailure(ctx context.Context, op, id, name string, err error) error {
	failure := d.fail(ctx, op, id, err)
	var e *driver.Error
	if !errors.As(failure, &e) {
		return failure
	}
	text := strings.ToLower(err.Error())
	missing := e.Code == driver.CodeNotFound || strings.Contains(text, "no such file or directory") || strings.Contains(text, "not a directory")
	if !missing {
		return failure
	}
	if _, inspectErr := d.inspect(ctx, op, id); inspectErr != nil {
		return inspectErr
	}
	e.Code = driver.CodeNoFile
	e.Err = fmt.Errorf("there is no %s", name)
	return e
}

// copied reads an entry of the archive of name, which calls that root.
func copied(name, root string, header *tar.Header) (*driver.Copied, error) {
	at, err := placeInArchive(name, root, header.Name)
	if err != nil {
		return nil, err
	}
	found := &driver.Copied{Path: at, Kind: driver.CopiedOther, Mode: fs.FileMode(header.Mode) & fs.ModePerm, ModTime: header.ModTime}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		found.Kind, found.Size = driver.CopiedFile, header.Size
	case tar.TypeDir:
		found.Kind = driver.CopiedFolder
	case tar.TypeLink:
		found.Kind = driver.CopiedSame
		if found.SameAs, err = placeInArchive(name, root, header.Linkname); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// placeInArchive gives the path of what an archive of name calls entry. Nothing in it lies
// anywhere but there.
func placeInArchive(name, root, entry string) (string, error) {
	within := path.Clean("/" + entry) // climbs no higher
	rest, below := strings.CutPrefix(within+"/", path.Clean("/"+root+"/")+"/")
	if root == "" {
		rest, below = within, true
	}
	if !below || slices.Contains(strings.Split(entry, "/"), "..") {
		return "", fmt.Errorf("the archive of %s holds %q, which does not lie there", name, entry)
	}
	return path.Join(name, rest), nil
}
