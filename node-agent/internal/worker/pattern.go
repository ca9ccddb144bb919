package worker

import (
	"path"
	"strings"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// patternMeta begin a pattern in a part of a path.
const patternMeta = `*?[\`

// anyFolders is the part of a pattern that stands for any number of folders.
const anyFolders = "**"

// artifactPattern is what a job wants kept of its files; see orchionv1.ArtifactSpec.
type artifactPattern struct {
	spec *orchionv1.ArtifactSpec
	// base is what must lie in the container: the parts before the first pattern.
	base string
	// rest are the parts from there on; none: base itself and all below.
	rest []string
}

func newArtifactPattern(spec *orchionv1.ArtifactSpec) artifactPattern {
	parts := strings.Split(strings.TrimPrefix(spec.GetPath(), "/"), "/")
	fixed := 0
	for fixed < len(parts) && !strings.ContainsAny(parts[fixed], patternMeta) {
		fixed++
	}
	return artifactPattern{spec: spec, base: "/" + path.Join(parts[:fixed]...), rest: parts[fixed:]}
}

// matches says whether a file at or below base is wanted.
func (p *artifactPattern) matches(at string) bool {
	if len(p.rest) == 0 {
		return true
	}
	below, ok := strings.CutPrefix(at, p.base+"/")
	return ok && matchParts(p.rest, strings.Split(below, "/"))
}

// matchParts matches parts one by one. Of several ** only the last need ever be tried
// anew, so that it takes no longer than the two are long.
func matchParts(pattern, parts []string) bool {
	p, at, again, from := 0, 0, -1, 0
	for at < len(parts) {
		switch {
		case p < len(pattern) && pattern[p] == anyFolders:
			again, from = p, at
			p++
		case p < len(pattern) && matchPart(pattern[p], parts[at]):
			p++
			at++
		case again >= 0:
			from++
			p, at = again+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == anyFolders {
		p++
	}
	return p == len(pattern)
}

func matchPart(pattern, part string) bool {
	ok, err := path.Match(pattern, part)
	return ok && err == nil
}

// nameOf is what a file is called that is wanted.
func (p *artifactPattern) nameOf(at string) string {
	switch {
	case p.spec.GetName() == "":
		return strings.TrimPrefix(at, "/")
	case at == p.base:
		return p.spec.GetName()
	default:
		return p.spec.GetName() + strings.TrimPrefix(at, p.base)
	}
}
