package job

import (
	"fmt"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// MaxAfter is how many jobs and arrays a job may wait for.
const MaxAfter = 100

// MaxArray is how many jobs an array may have.
const MaxArray = 10_000

// arrayPrefix begins the ids of arrays, so that they are told from those of
// jobs wherever either may stand.
const arrayPrefix = "array-"

// ArrayID makes the id of an array from a text that is one of its own.
func ArrayID(own string) string { return arrayPrefix + own }

// IsArrayID says whether an id is that of an array and not of a job.
func IsArrayID(id string) bool { return strings.HasPrefix(id, arrayPrefix) }

// Condition is how a job must end for another to begin.
type Condition int

// The conditions. OnSuccess is the zero value.
const (
	OnSuccess Condition = iota
	OnEnd
)

// Dependency is a job that must end before another begins, or an array of which
// all must.
type Dependency struct {
	ID string    `json:"id"`
	On Condition `json:"on,omitempty"`
}

// Met says whether a job that ended so is what the dependency asked for.
func (c Condition) Met(end State) bool { return c == OnEnd || end == Succeeded }

// String says what is waited for: "job X to succeed".
func (d Dependency) String() string {
	what, how := "job "+d.ID, " to succeed"
	if IsArrayID(d.ID) {
		what = "all jobs of " + d.ID
	}
	if d.On == OnEnd {
		how = " to end"
	}
	return what + how
}

// Waits says what a job waits for, for people.
func Waits(after []Dependency) string {
	if len(after) == 0 {
		return ""
	}
	text := "waits for " + after[0].String()
	if more := len(after) - 1; more > 0 {
		text += fmt.Sprintf(" and for %d more", more)
	}
	return text
}

// NoDependency says that what a job waits for does not exist. It must: so a job
// only ever waits for older ones, and never in a circle.
func NoDependency(i int, id string) error {
	return fault.BadField(fmt.Sprintf("spec.after[%d].jobId", i),
		"names %q, which does not exist; a job can only wait for jobs and arrays that were submitted before it", id)
}

// Outcome is what became of a job, or of the jobs of an array.
type Outcome struct {
	// Pending is the id of one that has not ended; empty: all have.
	Pending string
	// Unsuccessful is the id of one that ended without success, and State how;
	// empty: none did.
	Unsuccessful string
	State        State
}
