package fake

import (
	"context"
	"fmt"
	"io"
	"io/fs"

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
