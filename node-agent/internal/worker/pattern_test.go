package worker

import (
	"strings"
	"testing"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestArtifactPattern(t *testing.T) {
	for _, tt := range []struct{ spec, name, base, file, want string }{
		{"/out/model.bin", "", "/out/model.bin", "/out/model.bin", "out/model.bin"},
		{"/out/model.bin", "best", "/out/model.bin", "/out/model.bin", "best"},
		{"/out", "", "/out", "/out/a/b", "out/a/b"},
		{"/out", "r/s", "/out", "/out/a/b", "r/s/a/b"},
		{"/out/**", "", "/out", "/out/a", "out/a"},
		{"/out/**", "", "/out", "/out/a/b/c", "out/a/b/c"},
		{"/out/**", "", "/out", "/out", ""},
		{"/out/*", "", "/out", "/out/a", "out/a"},
		{"/out/*", "", "/out", "/out/a/b", ""},
		{"/out/*.csv", "t", "/out", "/out/a.csv", "t/a.csv"},
		{"/out/*.csv", "", "/out", "/out/a.txt", ""},
		{"/out/**/*.csv", "", "/out", "/out/a.csv", "out/a.csv"},
		{"/out/**/*.csv", "", "/out", "/out/x/y/a.csv", "out/x/y/a.csv"},
		{"/out/**/x/**/*.csv", "", "/out", "/out/x/x/a.csv", "out/x/x/a.csv"},
		{"/out/**/x/**/*.csv", "", "/out", "/out/y/a.csv", ""},
		{"/out/run-?/[a-c]/f", "", "/out", "/out/run-1/b/f", "out/run-1/b/f"},
		{"/out/run-?/[a-c]/f", "", "/out", "/out/run-1/d/f", ""},
		{"/a/b/c*/d/**", "n", "/a/b", "/a/b/c1/d/e", "n/c1/d/e"},
		{`/out/\*`, "", "/out", "/out/*", "out/*"},
		{`/out/\*`, "", "/out", "/out/x", ""},
	} {
		p := newArtifactPattern(&orchionv1.ArtifactSpec{Path: tt.spec, Name: tt.name})
		got := ""
		if p.matches(tt.file) {
			got = p.nameOf(tt.file)
		}
		if p.base != tt.base || got != tt.want {
			t.Errorf("%s of %s: base %q and %q, want %q and %q", tt.file, tt.spec, p.base, got, tt.base, tt.want)
		}
	}
}

// A pattern that is made to be slow is not.
func TestArtifactPatternIsQuick(t *testing.T) {
	p := newArtifactPattern(&orchionv1.ArtifactSpec{Path: "/a" + strings.Repeat("/**/b", 400) + "/c"})
	began := time.Now()
	if p.matches("/a" + strings.Repeat("/b", 2000)) {
		t.Error("matches")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
