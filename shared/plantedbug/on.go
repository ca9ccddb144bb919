//go:build plantedbugs

// Package plantedbug lets tests break the programs on purpose, to see that the
// checks which should find it do. Only programs built with the tag plantedbugs
// have any of it in them.
package plantedbug

import (
	"math/rand/v2"
	"os"
	"sync"
)

// On says whether the bug is the one that ORCHION_PLANTED_BUG names.
func On(name string) bool { return os.Getenv("ORCHION_PLANTED_BUG") == name }

// first is what Stale was given first.
var first sync.Map //nolint:gochecknoglobals // a cache that nobody clears is the bug

// Stale is fresh, or with StaleReads half of the time what it was first.
func Stale[T any](key string, fresh T) T {
	if !On(StaleReads) {
		return fresh
	}
	earlier, _ := first.LoadOrStore(key, fresh)
	if old, ok := earlier.(T); ok && rand.IntN(2) == 0 {
		return old
	}
	return fresh
}
