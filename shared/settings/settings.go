// Package settings fills a program's flags from its environment and from a
// YAML file: flag over environment over file over default. Flags are the one
// list of what can be set; the other two follow from it, so that --http-port
// is ORCHION_HTTP_PORT and the key http-port.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Prefix begins the names of all environment variables.
const Prefix = "ORCHION_"

// maxFile bounds a settings file.
const maxFile = 1 << 20

// Source says where settings come from besides the command line.
type Source struct {
	// LookupEnv is os.LookupEnv in programs.
	LookupEnv func(name string) (string, bool)
	// File is a YAML file; empty: none. It must be there when Required is set.
	File     string
	Required bool
	// Only on the command line: names of flags that neither the environment
	// nor the file sets, such as help.
	CommandLineOnly []string
}

// Error is a wrong setting: a mistake of whoever started the program.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func wrong(format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...)} }

// EnvName is the environment variable of a flag.
func EnvName(flag string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// ApplyEnv sets those flags from the environment that were not given on the
// command line. Empty variables count as not set.
// Errors: *Error naming the variable.
func ApplyEnv(flags *pflag.FlagSet, s Source) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || failed != nil || slices.Contains(s.CommandLineOnly, f.Name) {
			return
		}
		name := EnvName(f.Name)
		value, ok := s.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			failed = wrong("%s: %v", name, cause(err))
		}
	})
	return failed
}

// ApplyFile sets those flags from the file that are not set yet.
// Errors: *Error naming the file, the line and the key.
func ApplyFile(flags *pflag.FlagSet, s Source) error {
	if s.File == "" {
		return nil
	}
	data, err := readFile(s)
	if err != nil || data == nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return wrong("%s: %v", s.File, err)
	}
	if len(document.Content) == 0 {
		return nil // only comments
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return wrong("%s:%d: must hold lines such as \"%s: value\"", s.File, root.Line, settable(flags, s)[0])
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		flag := flags.Lookup(key.Value)
		switch {
		case flag == nil || slices.Contains(s.CommandLineOnly, key.Value):
			return wrong("%s:%d: there is no setting %q; there are %s", s.File, key.Line, key.Value, strings.Join(settable(flags, s), ", "))
		case seen[key.Value]:
			return wrong("%s:%d: %s is set twice", s.File, key.Line, key.Value)
		case flag.Changed:
			seen[key.Value] = true
			continue // the command line or the environment has said otherwise
		}
		seen[key.Value] = true
		if err := setFromYAML(flags, flag, value); err != nil {
			return wrong("%s:%d: %s: %v", s.File, value.Line, key.Value, cause(err))
		}
	}
	return nil
}

func readFile(s Source) ([]byte, error) {
	info, err := os.Stat(s.File)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !s.Required:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, wrong("the settings file %s does not exist", s.File)
	case err == nil && info.Size() > maxFile:
		return nil, wrong("%s has %d bytes; a settings file has at most %d", s.File, info.Size(), maxFile)
	case err == nil && info.IsDir():
		return nil, wrong("%s is a folder; the settings file is a YAML file", s.File)
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return nil, wrong("the settings file cannot be read: %v", err)
	}
	return data, nil
}

// setFromYAML sets a flag to a scalar, to the entries of a list, or to the
// key=value pairs of a mapping.
func setFromYAML(flags *pflag.FlagSet, flag *pflag.Flag, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return errors.New("has no value")
		}
		return flags.Set(flag.Name, value.Value)
	case yaml.SequenceNode:
		if _, isList := flag.Value.(pflag.SliceValue); !isList {
			return fmt.Errorf("is a list; one value of type %s is expected", flag.Value.Type())
		}
		for _, entry := range value.Content {
			if entry.Kind != yaml.ScalarNode {
				return errors.New("holds something that is not a plain value")
			}
			if err := flags.Set(flag.Name, entry.Value); err != nil {
				return err
			}
		}
		return nil
	case yaml.MappingNode:
		if !strings.HasPrefix(flag.Value.Type(), "stringTo") {
			return fmt.Errorf("is a mapping; a value of type %s is expected", flag.Value.Type())
		}
		for i := 0; i+1 < len(value.Content); i += 2 {
			k, v := value.Content[i], value.Content[i+1]
			if v.Kind != yaml.ScalarNode {
				return fmt.Errorf("holds something under %s that is not a plain value", k.Value)
			}
			if err := flags.Set(flag.Name, k.Value+"="+v.Value); err != nil {
				return err
			}
		}
		return nil
	default:
		return errors.New("is not a plain value")
	}
}

// settable lists the names of the flags that a file may set.
func settable(flags *pflag.FlagSet, s Source) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && !slices.Contains(s.CommandLineOnly, f.Name) {
			names = append(names, f.Name)
		}
	})
	return names
}

// cause is what a flag's value said, without pflag's words about the flag,
// which name the command line.
func cause(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return fmt.Errorf("is %q: %w", invalid.GetValue(), invalid.Unwrap())
	}
	return err
}
