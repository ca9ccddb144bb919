package blob

import (
	"errors"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// errTooLarge is the cause of what TooLarge makes.
var errTooLarge = errors.New("more than --blob-max-bytes")

// TooLarge is the error of content that is larger than one blob may be.
func TooLarge(limit int64) error {
	return fault.Wrap(fault.Exhausted, errTooLarge,
		"the content has more than %d bytes, which is the most that one blob may have; the orchestrator's --blob-max-bytes says so", limit)
}

// IsTooLarge says whether an error is that of TooLarge.
func IsTooLarge(err error) bool { return errors.Is(err, errTooLarge) }
