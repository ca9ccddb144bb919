// Package version tells which build of Orchion is running.
package version

import (
	"runtime/debug"
)

// Version is set by the linker for released and scripted builds:
//
//	go build -ldflags "-X github.com/orchion/orchion/shared/version.Version=v1.2.3"
//
// It is empty otherwise; read String.
var Version string

// String names this build: what the linker was told, else the module's version
// (after `go install ...@v1.2.3`), else "dev" with the commit it was built from,
// such as "dev-1a2b3c4d5e6f" or "dev-1a2b3c4d5e6f-dirty".
func String() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return fromBuildInfo(info)
}

func fromBuildInfo(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var revision string
	var dirty bool
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if revision == "" {
		return "dev"
	}
	// As long as git's own short form of a large repository; enough to look it up.
	const short = 12
	if len(revision) > short {
		revision = revision[:short]
	}
	if dirty {
		return "dev-" + revision + "-dirty"
	}
	return "dev-" + revision
}

// Commit is the full revision that this build was made from; empty when the
// build does not know.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
