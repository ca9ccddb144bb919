// Package alias keeps names that lead to models: clients ask for "fast" or
// "coder", and people say which models that is, the first one that can answer
// going first.
package alias

import (
	"regexp"
	"slices"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// Alias is a name that clients use for models.
type Alias struct {
	Name string
	// Models are names of models, or of other aliases, in the order in which they
	// are tried. They need not be there yet.
	Models []string
}

const (
	// MaxModels bounds the models that one alias names.
	MaxModels = 16
	// MaxReach bounds the models that an alias leads to, over others too.
	MaxReach = 64
	// MaxAliases bounds all aliases.
	MaxAliases = 1000

	maxName      = 63
	maxModelName = 512
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// CheckName says what is wrong with the name of an alias. Errors: a fault that
// names the field.
func CheckName(field, name string) error {
	if len(name) > maxName || !namePattern.MatchString(name) {
		return fault.BadField(field, "is %q; the name of an alias is 1 to %d characters of A-Z a-z 0-9 . _ -, starting with a letter or digit", clip(name), maxName)
	}
	return nil
}

// Validate says what is wrong with an alias by itself. Errors: a fault that names
// the field.
func (a *Alias) Validate() error {
	if err := CheckName("name", a.Name); err != nil {
		return err
	}
	if n := len(a.Models); n < 1 || n > MaxModels {
		return fault.BadField("models", "has %d models; an alias leads to 1 to %d", n, MaxModels)
	}
	for i, m := range a.Models {
		switch {
		case m == "" || len(m) > maxModelName || strings.ContainsFunc(m, isControl):
			return fault.BadField("models", "has %q; the name of a model is 1 to %d bytes without control characters", clip(m), maxModelName)
		case m == a.Name:
			return fault.BadField("models", "has %q, the alias itself", m)
		case slices.Contains(a.Models[:i], m):
			return fault.BadField("models", "has %q twice", m)
		}
	}
	return nil
}

// None says that there is no such alias.
func None(name string) error { return fault.New(fault.NotFound, "there is no alias %q", clip(name)) }

func isControl(r rune) bool { return r < 0x20 || r == 0x7f || r == '\uFFFD' }

// clip shortens what is repeated in a message.
func clip(s string) string {
	if len(s) > maxName+1 {
		return strings.ToValidUTF8(s[:maxName], "") + "..."
	}
	return s
}
