//go:build unix

package program

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// hopeless is an error that waiting does not mend.
type hopeless struct{ error }

// Hopeless makes an error one that waiting does not mend.
func Hopeless(err error) error { return hopeless{err} }

// Eventually tries until it works, for so long at most.
func Eventually(ctx context.Context, limit time.Duration, what string, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		var fatal hopeless
		if err == nil {
			return nil
		}
		if errors.As(err, &fatal) || time.Now().After(deadline) {
			return fmt.Errorf("waiting until %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w; the last try: %w", what, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
