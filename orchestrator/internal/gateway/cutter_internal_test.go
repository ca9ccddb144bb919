package gateway

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCutter(t *testing.T) {
	for name, tc := range map[string]struct {
		framing framing
		pieces  []string
		want    []string // what goes on of each piece
		rest    string
	}{
		"whole events":         {serverSentEvents, []string{"data: 1\n\n", ": x\n\ndata: 2\n\n"}, []string{"data: 1\n\n", ": x\n\ndata: 2\n\n"}, ""},
		"half an event":        {serverSentEvents, []string{"data: 1\n\ndata", ": 2\n", "\n"}, []string{"data: 1\n\n", "", "data: 2\n\n"}, ""},
		"two ways to end":      {serverSentEvents, []string{"data: 1\r\n", "\r\ndata: 2\r\rx"}, []string{"", "data: 1\r\n\r\ndata: 2\r\r"}, "x"},
		"lines":                {ndjson, []string{"{}\n{", "}", "\n\n{"}, []string{"{}\n", "", "{}\n\n"}, "{"},
		"no stream":            {noStream, []string{"{", "}"}, []string{"{", "}"}, ""},
		"too large to be held": {serverSentEvents, []string{strings.Repeat("x", maxHalf+1), "yz", "\n\n"}, []string{strings.Repeat("x", maxHalf+1), "", "yz\n\n"}, ""},
		"which is held until": {
			serverSentEvents,
			[]string{"data: 1\n\n" + strings.Repeat("x", maxHalf), "y", "z"},
			[]string{"data: 1\n\n", strings.Repeat("x", maxHalf) + "y", ""},
			"z",
		},
	} {
		c := cutter{framing: tc.framing}
		for i, piece := range tc.pieces {
			if got := string(c.next([]byte(piece))); got != tc.want[i] {
				t.Errorf("%s: of piece %d %.60q goes on, want %.60q", name, i, got, tc.want[i])
			}
		}
		if got := string(c.rest()); got != tc.rest {
			t.Errorf("%s: %q is held back, want %q", name, got, tc.rest)
		}
	}
}

// However a stream is cut into pieces, its bytes stay, and what went on ends with an event.
func TestCutterKeepsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"data: x", "\n", "\r\n", "\n\n", "\r", strings.Repeat("y", maxHalf/2)})).Draw(t, "stream"), "")
		c := cutter{framing: serverSentEvents}
		var got strings.Builder
		for rest := stream; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			piece := []byte(rest[:n])
			rest = rest[n:]
			out := string(c.next(piece))
			clear(piece) // it is not the gateway's any more
			got.WriteString(out)
			if len(c.rest()) > maxHalf {
				t.Fatalf("%d bytes are held back", len(c.rest()))
			}
		}
		got.Write(c.rest())
		if got.String() != stream {
			t.Fatalf("%q became %q", stream, got.String())
		}
	})
}
