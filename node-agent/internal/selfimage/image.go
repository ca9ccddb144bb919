// Package selfimage makes an image of this very program, from scratch, for the small
// containers that the node agent runs for itself: no registry, no second artefact.
package selfimage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// ProgramPath is where the program lies in the image.
const ProgramPath = "/node-agent"

// Builder makes the image on one engine.
type Builder struct {
	driver     driver.Driver
	executable string // empty: found by itself

	mu    sync.Mutex // guards what follows, and that one at a time builds
	files []imageFile
	ref   string
}

// imageFile is one file of the image.
type imageFile struct {
	source string // on this machine
	target string // in the image, absolute
}

// New makes a Builder. executable is the program that the image is made of, for the
// engine's platform; empty: this program, or beside it the one named
// node-agent-linux-ARCH where this is not a program for Linux.
func New(d driver.Driver, executable string) *Builder {
	return &Builder{driver: d, executable: executable}
}

// Ref is the name of the image, once Ensure has given it.
func (b *Builder) Ref() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ref
}

// Ensure gives the name of the image and makes it when the engine has none.
// The name tells the content, so a new version of the program gets a new image.
func (b *Builder) Ensure(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ref == "" {
		if err := b.collectLocked(ctx); err != nil {
			return "", err
		}
	}
	exists, err := b.driver.ImageExists(ctx, b.ref)
	if err != nil {
		return "", fmt.Errorf("look for it: %w", err)
	}
	if exists {
		return b.ref, nil
	}
	reader, writer := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		writer.CloseWithError(writeRootFS(writer, b.files))
	}()
	err = b.driver.ImportImage(ctx, driver.ImageImport{
		Ref:        b.ref,
		RootFS:     reader,
		Entrypoint: []string{ProgramPath, "job-forwarder"},
		Labels:     map[string]string{driver.LabelPrefix + "image": "job-forwarder"},
	})
	reader.CloseWithError(errors.New("the engine took no more"))
	<-written
	if err != nil {
		return "", fmt.Errorf("import it: %w", err)
	}
	return b.ref, nil
}

// collectLocked finds the files of the image and names it after their content.
func (b *Builder) collectLocked(ctx context.Context) error {
	info, err := b.driver.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask the engine for its platform: %w", err)
	}
	program := b.executable
	if program == "" {
		if program, err = findProgram(info.OS, info.Arch); err != nil {
			return err
		}
	}
	libraries, err := librariesOf(program)
	if err != nil {
		return err
	}
	files := append([]imageFile{{source: program, target: ProgramPath}}, libraries...)
	hash := sha256.New()
	for _, f := range files {
		if err := hashFile(hash, f); err != nil {
			return err
		}
	}
	b.files = files
	b.ref = "localhost/orchion/job-forwarder:" + hex.EncodeToString(hash.Sum(nil))[:16]
	return nil
}

// findProgram finds a program of ours that runs on the engine's platform: this
// one, or one beside it that was made for it.
func findProgram(engineOS, engineArch string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's file: %w", err)
	}
	if runtime.GOOS == "linux" && engineOS == "linux" && runtime.GOARCH == engineArch {
		return self, nil
	}
	beside := filepath.Join(filepath.Dir(self), "node-agent-"+engineOS+"-"+engineArch)
	if _, err := os.Stat(beside); err != nil {
		return "", fmt.Errorf("it takes a node agent for the engine's platform: "+
			"put one built for %s/%s at %s", engineOS, engineArch, beside)
	}
	return beside, nil
}

func hashFile(hash io.Writer, f imageFile) error {
	file, err := os.Open(f.source)
	if err != nil {
		return fmt.Errorf("read a file of the image: %w", err)
	}
	defer file.Close()
	fmt.Fprintf(hash, "%s\x00", f.target)
	if _, err := io.Copy(hash, file); err != nil {
		return fmt.Errorf("read a file of the image: %w", err)
	}
	return nil
}

// writeRootFS writes the files as a tar stream with their directories.
func writeRootFS(w io.Writer, files []imageFile) error {
	archive := tar.NewWriter(w)
	made := map[string]bool{"/": true}
	for _, f := range files {
		if err := writeDirs(archive, path.Dir(f.target), made); err != nil {
			return err
		}
		if err := writeFile(archive, f); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("end the image: %w", err)
	}
	return nil
}

func writeDirs(archive *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	made[dir] = true
	if err := writeDirs(archive, path.Dir(dir), made); err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("write directory %s: %w", dir, err)
	}
	return nil
}

func writeFile(archive *tar.Writer, f imageFile) error {
	file, err := os.Open(f.source)
	if err != nil {
		return fmt.Errorf("read a file of the image: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read a file of the image: %w", err)
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.target[1:], Mode: 0o755, Size: info.Size()}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("write file %s: %w", f.target, err)
	}
	if _, err := io.Copy(archive, file); err != nil {
		return fmt.Errorf("write file %s: %w", f.target, err)
	}
	return nil
}
