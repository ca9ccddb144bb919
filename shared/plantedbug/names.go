package plantedbug

// The bugs. Each breaks one promise that shared/e2e/faults checks.
const (
	// EarlyAcknowledgement: a write is acknowledged some time before it is
	// durable.
	EarlyAcknowledgement = "early-acknowledgement"
	// ReusedNumber: a job's next attempt takes the number of the one before.
	ReusedNumber = "reused-number"
	// NoFence: whoever speaks for any attempt of a job speaks for its newest.
	NoFence = "no-fence"
	// RunsAgain: a node that comes back without an attempt gets it again under
	// the same number.
	RunsAgain = "runs-again"
	// SharesNetworks: a network that is ready is lent to a job and to the next one.
	SharesNetworks = "shares-networks"
	// LeavesContainers: containers of jobs are never removed.
	LeavesContainers = "leaves-containers"
	// SkipsLines: one line in fifty of a log is not sent.
	SkipsLines = "skips-lines"
	// StaleReads: every other look at a job tells what it was at the first.
	StaleReads = "stale-reads"
)

// LooksWhole is the bug for shared/e2e/streamfaults: a streamed answer of a model
// that broke off ends without a word.
const LooksWhole = "looks-whole"

// All are all bugs that shared/e2e/faults finds.
func All() []string {
	return []string{EarlyAcknowledgement, ReusedNumber, NoFence, RunsAgain, SharesNetworks, LeavesContainers, SkipsLines, StaleReads}
}
