package api

import (
	"path"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	maxArtifactSpecs = 64
	// maxArtifacts is how many files one attempt may leave.
	maxArtifacts    = 10_000
	maxArtifactName = 1024
	// artifactMeta begin a pattern in a part of a path.
	artifactMeta = `*?[\`
)

// artifactsFromProto checks and reads what is kept of a container's files.
func artifactsFromProto(field string, specs []*orchionv1.ArtifactSpec, taken *paths) ([]job.ArtifactSpec, error) {
	if err := checkCount(field, len(specs), maxArtifactSpecs); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var list []job.ArtifactSpec
	for i, s := range specs {
		at := indexed(field, i)
		if err := checkArtifactPath(at+".path", s.GetPath(), taken); err != nil {
			return nil, err
		}
		if seen[s.GetPath()] {
			return nil, fault.BadField(at+".path", "is %q, which the list holds already", clip(s.GetPath()))
		}
		seen[s.GetPath()] = true
		if s.GetName() != "" {
			if err := checkArtifactName(at+".name", s.GetName()); err != nil {
				return nil, err
			}
		}
		list = append(list, job.ArtifactSpec{Path: s.GetPath(), Name: s.GetName(), Optional: s.GetOptional()})
	}
	return list, nil
}

// checkArtifactPath checks a path of a container that may be a pattern.
func checkArtifactPath(field, text string, taken *paths) error {
	if err := checkPath(field, text); err != nil {
		return err
	}
	if text == "/" {
		return fault.BadField(field, "is \"/\"; its first part must be the name of a folder")
	}
	if err := notOfTheSystem(field, text, "kept of"); err != nil {
		return err
	}
	fixed := "" // what stands before the first part that is a pattern
	for i, part := range strings.Split(text[1:], "/") {
		isPattern := strings.ContainsAny(part, artifactMeta)
		_, err := path.Match(part, "")
		switch {
		case i == 0 && isPattern:
			return fault.BadField(field, "is %q; its first part must be the name of a folder, without any of *, ?, [ and \\", clip(text))
		case err != nil:
			return fault.BadField(field, "is %q, in which %q is no pattern; close the bracket, or put \\ before what stands for itself", clip(text), clip(part))
		case part != "**" && strings.Contains(part, "**"):
			return fault.BadField(field, "is %q, in which ** is only a part of %q; it must stand alone between slashes", clip(text), clip(part))
		case isPattern:
			fixed += "\x00" // no path begins with what follows
		}
		fixed += "/" + part
	}
	fixed, _, _ = strings.Cut(fixed, "\x00")
	for mounted, what := range taken.what {
		if what == tmpfsMounted && (fixed == mounted || strings.HasPrefix(fixed, mounted+"/")) {
			return fault.BadField(field, "is %q, which lies in %s, a tmpfs: what is there is gone when the container has ended", clip(text), clip(mounted))
		}
	}
	return nil
}

// checkArtifactName checks what an artifact is called.
func checkArtifactName(field, name string) error {
	if err := checkRequired(field, name, maxArtifactName); err != nil {
		return err
	}
	if name[0] == '/' || name == "." || name == ".." || strings.HasPrefix(name, "../") || path.Clean(name) != name {
		return fault.BadField(field, "is %q; it must be a relative path without . and .., doubled slashes and one at its end", clip(name))
	}
	return nil
}
