// Package ollamaimage builds the offline Ollama image: the real Ollama server,
// with the real image's port, folder of models and way of being called, and
// inside the same container the registry that it pulls the tiny models from.
// See package offlinemodel for what can be pulled.
package ollamaimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

const dockerfile = `FROM scratch
COPY root/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root OLLAMA_HOST=0.0.0.0:11434
EXPOSE 11434
ENTRYPOINT ["/bin/offline-ollama"]
CMD ["serve"]
`

// Build builds the image offlinemodel.Image in each of the engines that does
// not have it yet, from the Ollama program at binary. root is the checkout, whose
// entry point is compiled for it. It works on Linux alone, where a program built
// here also runs in a container.
func Build(ctx context.Context, engines []*engine.Engine, root, binary string, log io.Writer) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("build %s: only on Linux, not on %s: %w", offlinemodel.Image, runtime.GOOS, errors.ErrUnsupported)
	}
	dir, err := os.MkdirTemp("", "orchion-ollama-image-")
	if err != nil {
		return fmt.Errorf("build %s: %w", offlinemodel.Image, err)
	}
	defer os.RemoveAll(dir)
	entry := filepath.Join(dir, "offline-ollama")
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-o", entry, "./shared/testbed/cmd/offline-ollama")
	compile.Dir = root
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: compile its entry point: %w: %s", offlinemodel.Image, err, bytes.TrimSpace(out))
	}

	libraries, err := sharedLibraries(ctx, binary)
	if err != nil {
		return fmt.Errorf("build %s: %w", offlinemodel.Image, err)
	}
	files := []engine.File{
		{Name: "root/tmp/", Mode: 0o1777},
		{Name: "root/root/.ollama/", Mode: 0o755},
		{Name: "root/bin/ollama", From: binary, Mode: 0o755},
		{Name: "root/bin/offline-ollama", From: entry, Mode: 0o755},
	}
	for _, path := range libraries {
		files = append(files, engine.File{Name: "root" + path, From: path, Mode: 0o755})
	}
	for _, e := range engines {
		built, err := e.Build(ctx, offlinemodel.Image, dockerfile, files, io.Discard)
		if err != nil {
			return err
		}
		if built {
			fmt.Fprintf(log, "built %s in %s\n", offlinemodel.Image, e.Name)
		}
	}
	return nil
}

// sharedLibraries lists the files that a dynamically linked program loads,
// which an image FROM scratch has to bring along at the same places.
func sharedLibraries(ctx context.Context, binary string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", binary).Output()
	if err != nil {
		return nil, fmt.Errorf("list the libraries of %s: ldd: %w", binary, err)
	}
	var paths []string
	for field := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(field, "/") && field != binary {
			paths = append(paths, strings.TrimSuffix(field, ":"))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("list the libraries of %s: ldd names none", binary)
	}
	return paths, nil
}
