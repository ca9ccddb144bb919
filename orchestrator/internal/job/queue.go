package job

import (
	"cmp"
	"regexp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// DefaultQueue is the queue of jobs that name none.
const DefaultQueue = "default"

// The limits on a queue's settings.
const (
	MaxQueueName  = 63
	MaxWeight     = 1000
	MaxMaxRunning = 1_000_000
)

// Queue is what is set for the jobs that name it. A queue is there by being
// used; settings only change how it is treated.
type Queue struct {
	Name string
	// Weight is the queue's share of what runs, against the weights of the
	// others: 1 to MaxWeight.
	Weight int
	// MaxRunning bounds the queue's jobs that nodes hold at one time; 0: no
	// bound.
	MaxRunning int
	// Paused: its jobs wait. What runs goes on.
	Paused bool
}

// NewQueue is a queue that nothing was set for.
func NewQueue(name string) Queue { return Queue{Name: name, Weight: 1} }

// QueueName is the queue that a job waits in.
func (s *Spec) QueueName() string { return cmp.Or(s.Queue, DefaultQueue) }

var queueName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// CheckQueueName says what is wrong with the name of a queue; field names it.
func CheckQueueName(field, name string) error {
	if name == "" || len(name) > MaxQueueName || !queueName.MatchString(name) {
		if len(name) > 80 {
			name = name[:80] + "…"
		}
		return fault.BadField(field, "is %q; the name of a queue is 1 to %d characters of A-Z a-z 0-9 . _ -, starting with a letter or digit", name, MaxQueueName)
	}
	return nil
}

// Validate says what is wrong with the settings, naming the field.
func (q *Queue) Validate() error {
	if err := CheckQueueName("name", q.Name); err != nil {
		return err
	}
	if q.Weight < 1 || q.Weight > MaxWeight {
		return fault.BadField("weight", "is %d; it must be between 1 and %d", q.Weight, MaxWeight)
	}
	if q.MaxRunning < 0 || q.MaxRunning > MaxMaxRunning {
		return fault.BadField("maxRunning", "is %d; it must be between 0, for no limit, and %d", q.MaxRunning, MaxMaxRunning)
	}
	return nil
}
