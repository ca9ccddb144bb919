// Package label is label selectors: key=value, key!=value and key, joined by
// commas.
package label

import (
	"fmt"
	"strings"
)

// Selector is a conjunction of requirements; an empty one matches everything.
type Selector []Requirement

// Requirement is about one key.
type Requirement struct {
	Key   string
	Op    Op
	Value string
}

// Op is how a requirement compares. The zero value is Exists.
type Op int

// The operators.
const (
	Exists Op = iota
	Equals
	NotEquals
)

// maxRequirements bounds what a caller can make us compare.
const maxRequirements = 32

// Parse reads a selector such as "room=office,gpu!=none,ssd". Empty text is
// the selector that matches everything.
func Parse(text string) (Selector, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > maxRequirements {
		return nil, fmt.Errorf("has %d requirements; at most %d are allowed", len(parts), maxRequirements)
	}
	selector := make(Selector, 0, len(parts))
	for _, part := range parts {
		part = strings.TrimSpace(part)
		r := Requirement{Key: part, Op: Exists}
		if key, value, ok := strings.Cut(part, "!="); ok {
			r = Requirement{Key: strings.TrimSpace(key), Op: NotEquals, Value: strings.TrimSpace(value)}
		} else if key, value, ok := strings.Cut(part, "="); ok {
			r = Requirement{Key: strings.TrimSpace(key), Op: Equals, Value: strings.TrimSpace(value)}
		}
		if r.Key == "" {
			return nil, fmt.Errorf("has no key in %q; write key=value, key!=value or key", part)
		}
		selector = append(selector, r)
	}
	return selector, nil
}

// String gives the selector as Parse reads it.
func (s Selector) String() string {
	parts := make([]string, 0, len(s))
	for _, r := range s {
		switch r.Op {
		case Equals:
			parts = append(parts, r.Key+"="+r.Value)
		case NotEquals:
			parts = append(parts, r.Key+"!="+r.Value)
		default:
			parts = append(parts, r.Key)
		}
	}
	return strings.Join(parts, ",")
}

// Matches says whether labels meet every requirement. A key that is missing
// meets key!=value.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		value, ok := labels[r.Key]
		switch r.Op {
		case Exists:
			if !ok {
				return false
			}
		case Equals:
			if !ok || value != r.Value {
				return false
			}
		case NotEquals:
			if ok && value == r.Value {
				return false
			}
		}
	}
	return true
}
