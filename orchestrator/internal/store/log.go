package store

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// MaxLogText is how many bytes the text of one log entry has at most. Nodes
// cut longer lines into several entries.
const MaxLogText = 16 << 10

// MaxLogRead is the most entries that one Read answers.
const MaxLogRead = 10_000

// LogStore keeps the logs of attempts beside the database. Errors are
// *fault.Error: Invalid (a field named), Superseded (another writer opened the
// log), Precondition (the log is complete, over or removed), Unavailable
// (closed, disk full).
// Methods are safe for concurrent use.
type LogStore interface {
	// Open prepares an attempt's log for appending and answers how many
	// entries of each stream it holds. An earlier writer of the same attempt
	// is cut off: its appends answer Superseded. The logs of the job's earlier
	// attempts are over from then on and take nothing more (Precondition), so
	// that who has read them to the end and goes on to this one misses nothing.
	Open(ctx context.Context, ref job.Ref) (LogWriter, error)
	// Read answers entries of a job in the order in which they were stored,
	// from the position on. Position is opaque; "" is the beginning. attempt 0
	// means all. The answer holds at most limit entries (1 to MaxLogRead); an
	// empty answer means that there is no more for now. A job without a log
	// has none. Notes with line 0 are of the store itself: that lines were
	// dropped there because the log is over its limit, that retention has
	// removed the log, that something is damaged.
	Read(ctx context.Context, jobID string, attempt int, position string, limit int) (entries []job.LogEntry, next string, err error)
	// Tail answers the position before the last n entries, at most MaxLogRead.
	Tail(ctx context.Context, jobID string, attempt int, n int) (position string, err error)
	// Since answers a position before the first entry whose time is not before
	// at, and not far before it; "" is the beginning.
	Since(ctx context.Context, jobID string, attempt int, at time.Time) (position string, err error)
	// Changed answers a channel that is closed when a log of the job grows or
	// is completed after the call. It may be closed without cause: look, and
	// ask for the next one before looking.
	Changed(jobID string) <-chan struct{}
	// DeleteJob removes the logs of all attempts of a job for good; a job
	// without one is no error. Who still writes is cut off with Precondition.
	DeleteJob(ctx context.Context, jobID string) error
	// Close makes everything durable and wakes up everyone who waits.
	Close() error
}

// LogWriter appends to one attempt's log. Entries whose line number is not
// above what is held are dropped, so that sending twice stores once.
type LogWriter interface {
	// Held answers the number of the last entry of each stream that is stored
	// or was dropped because the log is over its limit.
	Held() (stdoutLines, stderrLines int64)
	// Resume answers by what the reader of the node's copy finds the place
	// again at which it goes on, when lines cannot be counted from the
	// beginning because the beginning of that copy is gone.
	Resume() (Resume, error)
	// Append stores entries in their order. What it stored outlives the
	// process; it outlives the machine after Complete.
	Append(entries []job.LogEntry) error
	// Complete marks the log as whole and makes it durable, so that the node
	// may remove its copy. Nothing can be appended afterwards. Completing a
	// complete log changes nothing.
	Complete() error
	// Completed says whether the log is whole.
	Completed() bool
	// Close releases the writer; the log stays open for the next one.
	Close() error
}

// Resume is the beginning and the end of a log, notes left out.
type Resume struct {
	// First and Last are entries as they are stored; Line 0: there is none.
	First, Last job.LogEntry
	// Same counts the entries up to the last one that carry its time: an engine
	// may give many lines one time.
	Same int
}
