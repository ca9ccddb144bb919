package ollamaimage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

func TestSharedLibraries(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/bin/ldd"); err != nil {
		t.Skip("no ldd on this system")
	}
	libraries, err := sharedLibraries(t.Context(), "/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(libraries, func(p string) bool { return strings.HasPrefix(filepath.Base(p), "libc.") }) {
		t.Errorf("the libraries of /bin/sh are %q, want the C library among them", libraries)
	}
	if _, err := sharedLibraries(t.Context(), "/no/such/program"); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("of a program that is not there: %v, want an error naming it", err)
	}
}

func TestImageRunsInBothEngines(t *testing.T) {
	binary := os.Getenv("ORCHION_TEST_OLLAMA_BIN")
	if binary == "" {
		t.Skip("ORCHION_TEST_OLLAMA_BIN is not set: it names the real Ollama to put into the image; test-all sets it")
	}
	for _, variable := range []string{"ORCHION_TEST_DOCKER_HOST", "ORCHION_TEST_PODMAN_HOST"} {
		t.Run(variable, func(t *testing.T) {
			host := os.Getenv(variable)
			if host == "" {
				t.Skipf("%s is not set: it names the engine to test with; test-all sets it", variable)
			}
			e, err := engine.Connect(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if err := Build(t.Context(), []*engine.Engine{e}, filepath.Join("..", "..", ".."), binary, t.Output()); err != nil {
				t.Fatal(err)
			}
			// The program itself runs, with its libraries, through the entry point.
			code, output, err := e.Run(t.Context(), offlinemodel.Image, "--version")
			if err != nil {
				t.Fatal(err)
			}
			if code != 0 || !strings.Contains(output, "0.6.5") {
				t.Errorf("ollama --version in the container: exit code %d, %q; want 0 and the version 0.6.5", code, output)
			}
		})
	}
}
