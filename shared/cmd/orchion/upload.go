package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxInline is how much content a job may carry itself; what is larger is
// uploaded before.
const maxInline = 1 << 20

// uploads are the files that a job needs the orchestrator to have, by digest.
type uploads map[string]localFile

// localFile is a file of this machine.
type localFile struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
}

// take makes an input file of a local one, which is to be uploaded if it is
// large.
func (u uploads) take(name string) (*orchionv1.InputFile, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, plainPathError(err)
	}
	if info.IsDir() {
		return nil, errors.New("is a folder; give a file")
	}
	if !info.Mode().IsRegular() || info.Size() <= maxInline {
		content, err := readLimited(name)
		return &orchionv1.InputFile{Content: content}, err
	}
	open := func() (io.ReadCloser, error) { return os.Open(name) }
	file, err := open()
	if err != nil {
		return nil, plainPathError(err)
	}
	defer func() { _ = file.Close() }() // only read from
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return nil, plainPathError(err)
	}
	digest := digestText(sum.Sum(nil))
	u[digest] = localFile{name, size, open}
	return &orchionv1.InputFile{Blob: digest}, nil
}

// fit has the largest contents of a job uploaded instead, until the rest is
// small enough.
func (u uploads) fit(container *orchionv1.ContainerSpec) {
	for {
		total := 0
		var largest *orchionv1.InputFile
		for _, f := range container.GetFiles() {
			if total += len(f.GetContent()); len(f.GetContent()) > len(largest.GetContent()) {
				largest = f
			}
		}
		if total <= maxInline {
			return
		}
		content := largest.GetContent()
		sum := sha256.Sum256(content)
		largest.Blob, largest.Content = digestText(sum[:]), nil
		u[largest.GetBlob()] = localFile{filepath.Base(largest.GetPath()), int64(len(content)), func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}}
	}
}

func digestText(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// plainPathError is an error of a file without its name, which is said before.
func plainPathError(err error) error {
	if wrapped := (*os.PathError)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// upload brings to the orchestrator what it does not have yet.
func (c *cli) upload(ctx context.Context, files uploads, errOut io.Writer) error {
	for digest, file := range files {
		there, err := c.hasBlob(ctx, digest)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if err := c.uploadOne(ctx, digest, file, errOut); err != nil {
			return fmt.Errorf("upload %s: %w", file.name, err)
		}
	}
	return nil
}

func (c *cli) hasBlob(ctx context.Context, digest string) (bool, error) {
	response, err := c.client().stream(ctx, http.MethodHead, "/api/blobs/"+segment(digest), nil, "*/*", nil)
	if failure := (*apiError)(nil); errors.As(err, &failure) && failure.notFound() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, response.Body.Close()
}

func (c *cli) uploadOne(ctx context.Context, digest string, file localFile, errOut io.Writer) error {
	content, err := file.open()
	if err != nil {
		return err
	}
	shown := newTransfer(errOut, "uploading "+file.name, file.size)
	defer shown.end()
	return c.client().put(ctx, "/api/blobs/"+segment(digest), file.size, struct {
		io.Reader
		io.Closer
	}{io.TeeReader(content, shown), content})
}

// put sends content as it is and closes it.
func (c *client) put(ctx context.Context, path string, size int64, content io.ReadCloser) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+path, content)
	if err != nil {
		return err
	}
	request.ContentLength = size
	request.Header.Set("Content-Type", "application/octet-stream")
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if response.StatusCode/100 != 2 {
		return decodeError(response.StatusCode, data)
	}
	return err
}

// transfer shows how far something has come that is written to it.
type transfer struct {
	*progress
	what       string
	done, size int64
	percent    int64
}

func newTransfer(w io.Writer, what string, size int64) *transfer {
	t := &transfer{progress: newProgress(w), what: what, size: size, percent: -1}
	t.moved(0)
	return t
}

func (t *transfer) Write(p []byte) (int, error) {
	t.moved(int64(len(p)))
	return len(p), nil
}

func (t *transfer) moved(n int64) {
	t.done += n
	percent := int64(100)
	if t.size > 0 {
		percent = min(100*t.done/t.size, 100)
	}
	if percent == t.percent {
		return
	}
	t.percent = percent
	if t.terminal {
		t.show(fmt.Sprintf("%s %s %s of %s", t.what, bar(float64(percent)), bytesText(t.done), bytesText(t.size)))
		return
	}
	if t.done == 0 {
		t.show(t.what + ", " + bytesText(t.size))
	}
}
