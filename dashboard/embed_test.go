package dashboard

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestFS holds FS to what is on disk: the folder is embedded as it was at
// compile time, built or not.
func TestFS(t *testing.T) {
	_, err := os.Stat("build/index.html")
	built := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}

	files, ok := FS()
	if ok != built {
		t.Fatalf("FS says built = %t, but build/index.html exists = %t", ok, built)
	}
	if !built {
		if files != nil {
			t.Error("FS answered files although the dashboard was not built")
		}
		return
	}
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "<title>Orchion</title>") {
		t.Error("index.html is not the dashboard's page: no <title>Orchion</title>")
	}
	// SvelteKit's own folder begins with an underscore, which a plain go:embed leaves out.
	if _, err := fs.Stat(files, "_app/immutable"); err != nil {
		t.Errorf("the dashboard's scripts are not embedded: %v", err)
	}
}
