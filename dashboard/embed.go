// Package dashboard holds the built web dashboard, so that one binary serves
// it. The build is made by `npm run build -w dashboard` and is not committed:
// a program compiled without it works all the same and can say how to make it.
package dashboard

import (
	"embed"
	"io/fs"
)

// The folder is committed with a placeholder, so that this compiles before the
// dashboard was built; "all:" takes SvelteKit's _app folder in.
//
//go:embed all:build
var files embed.FS

// entryPage is what every path that is no file falls back to.
const entryPage = "index.html"

// FS answers the files of the built dashboard, index.html at the root, and
// whether there are any: false when this program was compiled before the
// dashboard was built.
func FS() (fs.FS, bool) {
	build, err := fs.Sub(files, "build")
	if err != nil {
		return nil, false
	}
	if _, err := fs.Stat(build, entryPage); err != nil {
		return nil, false
	}
	return build, true
}
