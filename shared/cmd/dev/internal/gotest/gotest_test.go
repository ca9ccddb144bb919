package gotest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The events come from a real `go test`, so that a change of its format shows.
func TestReadRealGoTest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": "module example\n\ngo 1.26\n",
		"good/good_test.go": `package good
import "testing"
func TestFine(t *testing.T) {}
func TestNeedsEngine(t *testing.T) { t.Skip("ORCHION_TEST_X is not set: say why") }
func TestOther(t *testing.T) { t.Run("sub", func(t *testing.T) { t.SkipNow() }) }
`,
		"bad/bad_test.go": `package bad
import "testing"
func TestFine(t *testing.T) {}
func TestWrong(t *testing.T) { t.Log("it said"); t.Run("sub", func(t *testing.T) { t.Error("2 is not 3") }) }
`,
		"broken/broken_test.go": "package broken\nvar x int = \"text\"\n",
		"panics/panics_test.go": `package panics
import "testing"
func TestPanics(t *testing.T) { panic("at the disco") }
`,
		"none/none.go": "package none\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "-vet=off", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	events, _ := cmd.Output() // it fails, as it should

	var out strings.Builder
	summary, err := Read(strings.NewReader(string(events)+"not JSON\n"), &out)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Passed != 3 || summary.Failed != 3 || summary.Skipped != 2 {
		t.Errorf("counted %s; want 3 passed, 3 failed, 2 skipped", summary)
	}
	if !strings.Contains(summary.String(), "2 skipped: ") || !strings.Contains(summary.String(), "say why") {
		t.Errorf("%q does not say why tests were skipped", summary)
	}
	wantFailed := "example/bad example/bad.TestWrong example/bad.TestWrong/sub example/broken example/panics example/panics.TestPanics"
	if got := strings.Join(summary.FailedNames, " "); got != wantFailed {
		t.Errorf("failed: %s\nwant: %s", got, wantFailed)
	}
	if got := summary.SkippedFor("ORCHION_TEST_"); len(got) != 1 || got[0] != "ORCHION_TEST_X is not set: say why" {
		t.Errorf("skipped for want of an engine: %q", got)
	}
	for _, want := range []string{
		"ok    example/good", "FAIL  example/bad", "FAIL  example/broken", "FAIL  example/panics",
		"2 is not 3", "it said", "cannot use \"text\"", "at the disco", "not JSON",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "TestFine") || strings.Contains(out.String(), "example/none") {
		t.Errorf("the report tells of what went well:\n%s", out.String())
	}
}
