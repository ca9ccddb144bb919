package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

// Every package of the repository says what it is for.
func TestEveryPackageHasADoc(t *testing.T) {
	t.Parallel()
	r, err := repo.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{} // by folder
	err = filepath.WalkDir(r.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch name := entry.Name(); {
			case path == r.Path("shared", "gen", "go"), name == "node_modules", name == "testdata",
				name == "bin", path != r.Root && strings.HasPrefix(name, "."):
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := r.Rel(filepath.Dir(path))
		text := ""
		if file.Doc != nil {
			text = file.Doc.Text()
		}
		// Some words, not only "Package x".
		documented[dir] = documented[dir] || len(strings.Fields(text)) > 4
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(documented) < 10 {
		t.Fatalf("found %d packages, want the whole repository", len(documented))
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package doc", dir)
		}
	}
}
