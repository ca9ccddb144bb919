// Package modelpull is what a node says of a model that it gets, in lines of JSON.
package modelpull

// State is how a pull stands.
type State string

// The states of a pull. The last line has one of the last two.
const (
	Pulling State = "pulling"
	Pulled  State = "pulled"
	Failed  State = "failed"
)

// Progress is one line.
type Progress struct {
	State State `json:"state"`
	// Percent of everything that is to come, 0 to 100.
	Percent float64 `json:"percent,omitempty"`
	// CompletedBytes of TotalBytes have come; the total grows while more becomes known.
	CompletedBytes int64 `json:"completedBytes,omitempty"`
	TotalBytes     int64 `json:"totalBytes,omitempty"`
	// Reason says in a few words what goes on, or why it failed.
	Reason string `json:"reason,omitempty"`
}
