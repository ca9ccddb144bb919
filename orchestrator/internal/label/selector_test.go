package label

import (
	"strings"
	"testing"
)

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"room": "office", "gpu": "rtx"}
	for selector, want := range map[string]bool{
		"":                      true,
		"  ":                    true,
		"room=office":           true,
		"room = office , gpu":   true,
		"room=lab":              false,
		"room!=lab":             true,
		"room!=office":          false,
		"missing":               false,
		"missing!=x":            true,
		"missing=":              false,
		"room=office,gpu!=rtx":  false,
		"room=office,gpu=rtx,k": false,
	} {
		parsed, err := Parse(selector)
		if err != nil {
			t.Errorf("Parse(%q): %v", selector, err)
			continue
		}
		if got := parsed.Matches(labels); got != want {
			t.Errorf("%q matches %v: got %v, want %v", selector, labels, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for selector, want := range map[string]string{
		"=office":                      `has no key in "=office"`,
		"room=office,,gpu":             `has no key in ""`,
		strings.Repeat("a,", 40) + "b": "has 41 requirements; at most 32 are allowed",
		"!=x":                          `has no key in "!=x"`,
	} {
		if _, err := Parse(selector); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", selector, err, want)
		}
	}
}
