package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changing finds what differs from one answer to the next.
var changing = regexp.MustCompile(`"(created_at|created|(total|load|prompt_eval|eval)_duration)":("[^"]*"|[0-9]+),?|"(chatcmpl|cmpl|call)[-_][0-9a-z]+"`)

// conformance is a request that an engine and the gateway get.
type conformance struct {
	request string // method and path
	body    string
	// but is how the gateway's answer differs on purpose; nil: it does not.
	but *difference
}

// difference is one that is on purpose.
type difference struct {
	why string
	// of makes the gateway's answer of the engine's; nil: it has want in it.
	of   func(answer string) string
	want string
}

// compare sends a request to an engine and to the gateway in front of it: status, type and
// body must be the same, or differ as the row says.
func (row conformance) compare(t *testing.T, direct, through string) {
	t.Helper()
	want, got := answerOf(t, direct, row.request, row.body), answerOf(t, through, row.request, row.body)
	switch {
	case row.but == nil:
		if got != want {
			t.Errorf("%s\nthe gateway (+) differs from the engine (-):\n%s", row.body, cmp.Diff(want, got))
		}
	case got == want:
		t.Errorf("%s\nboth answer\n%s\nthough it should differ: %s", row.body, got, row.but.why)
	case row.but.of != nil:
		if want = row.but.of(want); got != want {
			t.Errorf("%s\nthe gateway (+) differs from what it should say (-), %s:\n%s", row.body, row.but.why, cmp.Diff(want, got))
		}
	default:
		for part := range strings.SplitSeq(row.but.want, "…") {
			if !strings.Contains(got, part) {
				t.Errorf("%s\nthe gateway answers\n%s\nwithout %q (%s)\nthe engine\n%s", row.body, got, part, row.but.why, want)
			}
		}
	}
}

// answerOf answers with status, type and body but for what always differs.
func answerOf(t *testing.T, base, request, body string) string {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	asked, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	asked.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	kind := strings.TrimSpace(response.Header.Get("Content-Type") + " " + response.Header.Get("Content-Encoding"))
	return fmt.Sprintf("%d %s\n%s", response.StatusCode, kind, changing.ReplaceAllString(string(data), ""))
}
