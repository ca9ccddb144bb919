package dispatch

import (
	"fmt"

	"github.com/distribution/reference"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// wantsKey is all that makes a job like one node better than another.
type wantsKey struct {
	placement  job.Placement
	affinities string
	image      string
}

// wants are what jobs like. They do not part jobs into classes, since they say
// nothing of whether there is room; jobs that like the same share them, since
// there may be a million.
type wants struct {
	key     wantsKey
	members int // queued jobs
	prefers scheduler.Preferences
}

// wantsOf answers what a job likes; nil: nothing that others do not. Each entry
// that keeps them has to give them back; see unwant.
func (q *queue) wantsOf(spec *job.Spec) *wants {
	key := wantsKey{placement: spec.Placement}
	for _, a := range spec.Affinities {
		key.affinities += fmt.Sprintf("%d %s\x00", a.Weight, a.Constraint)
	}
	if spec.Container != nil {
		key.image = spec.Container.Image
	}
	if key == (wantsKey{}) {
		return nil
	}
	w := q.wants[key]
	if w == nil {
		w = &wants{key: key, prefers: preferencesOf(spec)}
		q.wants[key] = w
	}
	w.members++
	return w
}

// unwant forgets what an entry liked, when it was the last to like it.
func (q *queue) unwant(e *entry) {
	if e.wants == nil {
		return
	}
	if e.wants.members--; e.wants.members == 0 {
		delete(q.wants, e.wants.key)
	}
}

// preferencesOf is what the scheduler needs to know of what a job likes. An
// affinity that cannot be read any more counts for nothing.
func preferencesOf(spec *job.Spec) scheduler.Preferences {
	affinities, _ := scheduler.ParseAffinities(spec.Affinities)
	p := scheduler.Preferences{Placement: spec.Placement, Affinities: affinities}
	if spec.Container != nil {
		p.Image = imageName(spec.Container.Image)
	}
	return p
}

// processOf is the program of its node that a job runs; empty: none.
func processOf(spec *job.Spec) string {
	if spec.Process == nil {
		return ""
	}
	return spec.Process.Command
}

// credentialsOf are those that a job's image is asked for with, and the registry that
// they must be for. The names of images are read only where there are any.
func credentialsOf(spec *job.Spec) (name, registry string) {
	c := spec.Container
	if c == nil || c.RegistryCredentials == "" {
		return "", ""
	}
	if named, err := reference.ParseNormalizedNamed(c.Image); err == nil {
		registry = reference.Domain(named)
	}
	return c.RegistryCredentials, registry
}

// imageName is the name under which nodes say that they have an image: with
// registry, repository and digest, or else tag. Empty: it is none.
func imageName(text string) string {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return ""
	}
	if digested, ok := named.(reference.Digested); ok {
		if named, err = reference.WithDigest(reference.TrimNamed(named), digested.Digest()); err != nil {
			return ""
		}
		return named.String()
	}
	return reference.TagNameOnly(named).String()
}
