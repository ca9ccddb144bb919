package upstream

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// What was given back is read again, before what follows and how it ends.
func TestUnread(t *testing.T) {
	broken := errors.New("reset")
	b := &Body{piece: []byte("abcdef"), err: broken}
	head := make([]byte, 4)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	b.Unread(head)
	var all strings.Builder
	if _, err := io.Copy(&all, b); all.String() != "abcdef" || !errors.Is(err, broken) {
		t.Errorf("it gives %q, %v", all.String(), err)
	}
}
