package fake

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// PutFiles implements driver.Containers.
func (d *Driver) PutFiles(ctx context.Context, id string, files []driver.File) error {
	const op = "put files into container"
	if err := driver.ValidateFiles(files); err != nil {
		return d.fail(driver.CodeInvalid, op, id, "%w", err)
	}
	c, err := d.find(ctx, op, id)
	if err != nil {
		return err
	}
	for i := range files {
		f := files[i]
		content, size, err := f.Reader()
		if err != nil {
			return err
		}
		f.Content, err = io.ReadAll(io.LimitReader(content, size))
		content.Close()
		if err != nil {
			return err
		}
		f.Open = nil
		d.mu.Lock()
		c.files[f.Path] = f
		d.mu.Unlock()
	}
	return nil
}

// ReadFile gives the content of a file that was put into the container.
func (p *Process) ReadFile(name string) ([]byte, error) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	f, found := p.c.files[name]
	if !found {
		return nil, fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
	}
	return f.Content, nil
}

// WriteFile writes a file into the container.
func (p *Process) WriteFile(name string, content []byte, mode fs.FileMode) error {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.c.files[name] = driver.File{Path: name, Content: slices.Clone(content), Mode: mode}
	return nil
}

// CopyOut implements driver.Containers.
func (d *Driver) CopyOut(ctx context.Context, id, name string, take func(*driver.Copied) error) error {
	const op = "copy files out of container"
	if err := driver.ValidateCopied(name); err != nil {
		return d.fail(driver.CodeInvalid, op, id, "%w", err)
	}
	c, err := d.find(ctx, op, id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	var files []driver.File
	for at, f := range c.files {
		if at == name || strings.HasPrefix(at, name+"/") {
			files = append(files, f)
		}
	}
	d.mu.Unlock()
	if len(files) == 0 {
		return d.fail(driver.CodeNoFile, op, id, "there is no %s", name)
	}
	slices.SortFunc(files, func(a, b driver.File) int { return cmp.Compare(a.Path, b.Path) })
	seen := map[string]bool{}
	for i := range files {
		f := &files[i]
		// The folders on the way, from name down.
		var folders []string
		for at := path.Dir(f.Path); (at == name || strings.HasPrefix(at, name+"/")) && !seen[at]; at = path.Dir(at) {
			folders, seen[at] = append(folders, at), true
		}
		slices.Reverse(folders)
		for _, at := range folders {
			if err := take(&driver.Copied{Path: at, Kind: driver.CopiedFolder, Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := take(&driver.Copied{
			Path: f.Path, Kind: driver.CopiedFile, Size: int64(len(f.Content)), Mode: f.Mode, ModTime: time.Unix(0, 0),
			Content: bytes.NewReader(f.Content),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
