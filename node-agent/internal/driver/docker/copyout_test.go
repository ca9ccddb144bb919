package docker

import "testing"

// What an archive holds is only ever taken for what lies at the path that was asked for.
func TestPlaceInArchive(t *testing.T) {
	for _, tt := range []struct{ name, root, entry, want string }{
		{"/a/out", "out", "out/", "/a/out"},
		{"/a/out", "out", "out/b/c", "/a/out/b/c"},
		{"/a/out", "", "/", "/a/out"},
		{"/a/out", "", "/b", "/a/out/b"},
		{"/a/out", "out", "./out/b", "/a/out/b"},
		{"/a/out", "out", "outer/b", ""},
		{"/a/out", "out", "out/../b", ""},
		{"/a/out", "out", "../out", ""},
		{"/a/out", "out", "out/..", ""},
		{"/a/out", "", "/../b", ""},
		{"/a/out", "out", "b", ""},
	} {
		got, err := placeInArchive(tt.name, tt.root, tt.entry)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("placeInArchive(%q, %q, %q) = %q, %v", tt.name, tt.root, tt.entry, got, err)
		}
	}
}
