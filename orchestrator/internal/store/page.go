package store

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// MaxPage is the most jobs that one page holds.
const MaxPage = 1000

// Cursor is a place in the list of jobs, which is ordered by descending
// creation time and, within one time, by descending id. Implementations share
// it so that a token stays good when the store is exchanged.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// cursorVersion is the first byte of a token.
const cursorVersion = 1

// CursorOf is the place of a job.
func CursorOf(j job.Job) Cursor { return Cursor{CreatedAt: j.CreatedAt, ID: j.ID} }

// Token is the cursor as callers hand it back.
func (c Cursor) Token() string {
	raw := make([]byte, 0, 9+len(c.ID))
	raw = append(raw, cursorVersion)
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.CreatedAt.UnixNano()))
	raw = append(raw, c.ID...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ParseCursor reads a token; Invalid when it is not one.
func ParseCursor(token string) (Cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 9 || raw[0] != cursorVersion || !job.ValidID(string(raw[9:])) {
		return Cursor{}, fault.BadField("pageToken", "is not a token of this list; leave it empty to begin at the newest job")
	}
	return Cursor{
		CreatedAt: time.Unix(0, int64(binary.BigEndian.Uint64(raw[1:9]))).UTC(),
		ID:        string(raw[9:]),
	}, nil
}

// Newer says whether a job stands before the cursor in the list, or at it:
// jobs that a page after the cursor does not hold.
func (c Cursor) Newer(j job.Job) bool {
	if c.CreatedAt.Equal(j.CreatedAt) {
		return j.ID >= c.ID
	}
	return j.CreatedAt.After(c.CreatedAt)
}

// Validate checks what came from outside: the limit and the states.
func (f JobFilter) Validate() error {
	if f.Limit < 1 || f.Limit > MaxPage {
		return fault.BadField("pageSize", "is %d; allowed are 1 to %d", f.Limit, MaxPage)
	}
	for _, s := range f.States {
		if !slices.Contains(job.States(), s) {
			return fault.BadField("state", "%s is not a state of a job", s)
		}
	}
	if f.After != "" {
		if _, err := ParseCursor(f.After); err != nil {
			return err
		}
	}
	return nil
}

// Matches says whether a job passes the filter, without its cursor.
func (f JobFilter) Matches(j job.Job) bool {
	if len(f.States) > 0 && !slices.Contains(f.States, j.State) {
		return false
	}
	if f.NodeID != "" {
		if newest, ok := j.Current(); !ok || newest.NodeID != f.NodeID {
			return false
		}
	}
	if f.ArrayID != "" && j.ArrayID != f.ArrayID {
		return false
	}
	if f.Queue != "" && j.Spec.QueueName() != f.Queue || f.Name != "" && j.Name != f.Name {
		return false
	}
	return f.Labels.Matches(j.Labels)
}
