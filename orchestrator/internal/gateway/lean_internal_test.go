package gateway

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/uuid"
)

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newID()
		parsed, err := uuid.Parse(id)
		if err != nil || parsed.Version() != 4 || parsed.Variant() != uuid.RFC4122 || seen[id] {
			t.Fatalf("an id is %q: %v, or came before", id, err)
		}
		seen[id] = true
	}
}

func TestLastIndex(t *testing.T) {
	for _, text := range []string{"", "a", "aa", "aba", "abab", "xxabx", "abxxab", "aab"} {
		for _, key := range []string{"a", "ab", "b", "abx", "long key"} {
			if got, want := lastIndex([]byte(text), []byte(key)), bytes.LastIndex([]byte(text), []byte(key)); got != want {
				t.Errorf("the last %q in %q is at %d, want %d", key, text, got, want)
			}
		}
	}
}

// The context of a request is one that others end with, and costs them no goroutine.
func TestKnownRequest(t *testing.T) {
	type other struct{}
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), other{}, "kept"))
	known := &knownRequest{Context: parent, id: [1]string{"id-1"}}
	child, stop := context.WithCancel(known)
	defer stop()
	if got := requestIDOf(child); got != "id-1" || child.Value(other{}) != "kept" || requestIDOf(parent) != "" {
		t.Errorf("the id is %q and another value %v", got, child.Value(other{}))
	}
	cancel()
	if child.Err() == nil { // at once: nothing has to pass it on
		t.Error("what follows a request outlives it")
	}
}
