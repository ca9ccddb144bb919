package engine

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
)

// buildLabel on an image holds the hash of what it was built from.
const buildLabel = "orchion.build"

// File is one file of a build's context.
type File struct {
	// Name is its path there, with slashes.
	Name string
	// From is the file on this machine; when empty, Content is used.
	From    string
	Content []byte
	// Mode is its permissions; zero means 0644. A name that ends in a slash
	// makes a folder.
	Mode int64
}

// Build makes the image tag from a Dockerfile and files, unless the engine has
// it already, made from the same. It tells whether it had to. What the engine
// says goes to log. The Dockerfile must start FROM scratch or from an image the
// engine has.
func (e *Engine) Build(ctx context.Context, tag, dockerfile string, files []File, log io.Writer) (built bool, err error) {
	files = append(slices.Clone(files), File{Name: "Dockerfile", Content: []byte(dockerfile)})
	hash, err := hashFiles(files)
	if err != nil {
		return false, fmt.Errorf("build image %s: %w", tag, err)
	}
	info, err := e.api.ImageInspect(ctx, tag)
	switch {
	case err == nil && info.Config != nil && info.Config.Labels[buildLabel] == hash:
		return false, nil
	case err != nil && !cerrdefs.IsNotFound(err):
		return false, fmt.Errorf("look for image %s in %s: %w", tag, e.Name, err)
	}

	reader, writer := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		writer.CloseWithError(writeTar(writer, files))
	}()
	defer func() {
		_ = reader.CloseWithError(errors.New("the engine stopped reading"))
		<-packed
	}()
	response, err := e.api.ImageBuild(ctx, reader, build.ImageBuildOptions{
		Tags: []string{tag}, Labels: map[string]string{buildLabel: hash},
		Remove: true, ForceRemove: true, Version: build.BuilderV1,
	})
	if err != nil {
		return true, fmt.Errorf("build image %s in %s: %w", tag, e.Name, err)
	}
	defer response.Body.Close()
	if err := follow(response.Body, log); err != nil {
		return true, fmt.Errorf("build image %s in %s: %w", tag, e.Name, err)
	}
	return true, nil
}

// follow copies the engine's words to log; an engine reports a failed build as
// one of them.
func follow(stream io.Reader, log io.Writer) error {
	for decoder := json.NewDecoder(stream); ; {
		var line struct {
			Stream string `json:"stream"`
			Error  string `json:"error"`
		}
		err := decoder.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		case line.Error != "":
			return errors.New(strings.TrimSpace(line.Error))
		}
		fmt.Fprint(log, line.Stream)
	}
}

func hashFiles(files []File) (string, error) {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%q %o ", f.Name, f.Mode)
		if err := f.copyTo(sum); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func writeTar(w io.Writer, files []File) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Content)), Typeflag: tar.TypeReg}
		if header.Mode == 0 {
			header.Mode = 0o644
		}
		if strings.HasSuffix(f.Name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if f.From != "" {
			info, err := os.Stat(f.From)
			if err != nil {
				return err
			}
			header.Size = info.Size()
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if err := f.copyTo(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (f File) copyTo(w io.Writer) error {
	if f.From == "" {
		_, err := w.Write(f.Content)
		return err
	}
	in, err := os.Open(f.From)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}
