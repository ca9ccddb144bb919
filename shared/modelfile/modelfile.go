// Package modelfile reads Modelfiles, in which Ollama's users say what a model is made of:
// another model, and what is different about it (docs/modelfile.md of Ollama). Nothing in
// one may name a file of a machine: it is used on other machines than it was written on.
package modelfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on a Modelfile.
const (
	// MaxSize bounds one, in bytes.
	MaxSize = 64 << 10
	// maxEntries bounds its instructions.
	maxEntries = 1000
	// maxName bounds the name of a model.
	maxName = 350
)

// File is what a Modelfile says.
type File struct {
	// From is the model that it begins with, as a registry names it.
	From string
	// Parameters are numbers (int64, float64), bools, strings, and for stop a []string.
	Parameters map[string]any
	// Template and System replace those of From; empty: they stay.
	Template, System string
	// Messages are put before every conversation.
	Messages []Message
	// Licenses are texts.
	Licenses []string
}

// Message is one of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Error says what is wrong in which line.
type Error struct {
	Line int // from 1
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a Modelfile. The error is an *Error where it is about one line.
func Parse(text string) (File, error) {
	switch {
	case len(text) > MaxSize:
		return File{}, fmt.Errorf("has %d bytes; at most %d are allowed", len(text), MaxSize)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return File{}, errors.New("is not text in UTF-8")
	}
	r := reader{rest: strings.ReplaceAll(text, "\r\n", "\n"), line: 1}
	var f File
	for entries := 0; ; entries++ {
		instruction, value, at, err := r.next()
		if err == nil && instruction == "" {
			break
		}
		if err == nil && entries == maxEntries {
			err = fmt.Errorf("there are more than %d instructions", maxEntries)
		}
		if err == nil {
			err = f.add(instruction, value)
		}
		if err != nil {
			return File{}, &Error{Line: at, Err: err}
		}
	}
	if f.From == "" {
		return File{}, errors.New("has no FROM, which names the model that it begins with, such as FROM qwen3:0.6b")
	}
	return f, nil
}

// add takes an instruction in.
func (f *File) add(instruction, value string) error {
	if value == "" {
		return fmt.Errorf("%s has nothing after it", instruction)
	}
	switch instruction {
	case "FROM":
		if f.From != "" {
			return errors.New("FROM stands twice")
		}
		if err := checkModel(value); err != nil {
			return fmt.Errorf("FROM %w", err)
		}
		f.From = value
	case "PARAMETER":
		return f.parameter(value)
	case "TEMPLATE":
		f.Template = value
	case "SYSTEM":
		f.System = value
	case "LICENSE":
		f.Licenses = append(f.Licenses, value)
	case "MESSAGE":
		role, content, _ := strings.Cut(value, " ")
		if role != "system" && role != "user" && role != "assistant" {
			return fmt.Errorf("MESSAGE is of %.20q; it can be of system, user and assistant", role)
		}
		content, err := unquote(strings.TrimSpace(content))
		if err != nil || content == "" {
			return errors.Join(err, fmt.Errorf("MESSAGE %s has no text", role))
		}
		f.Messages = append(f.Messages, Message{Role: role, Content: content})
	case "ADAPTER":
		return errors.New("ADAPTER names a file, and files of a machine cannot be used here; make a model with it and name that in FROM")
	default:
		return fmt.Errorf("%.40q is no instruction; there are FROM, PARAMETER, TEMPLATE, SYSTEM, MESSAGE and LICENSE", instruction)
	}
	return nil
}

// checkModel says whether a registry could name a model so. Ollama takes what begins like a
// path for one.
func checkModel(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("has %d characters; at most %d are allowed", len(name), maxName)
	case strings.HasPrefix(name, "/"), strings.HasPrefix(name, "."), strings.HasPrefix(name, "~"),
		strings.Contains(name, ".."), strings.ContainsAny(name, "\\@ \t\n\"'"), strings.HasSuffix(strings.ToLower(name), ".gguf"):
		return fmt.Errorf("is %.80q; it must be a model of a registry, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M", name)
	}
	return nil
}

// maxParameter bounds the names of parameters.
const maxParameter = 64

func (f *File) parameter(value string) error {
	name, text, _ := strings.Cut(value, " ")
	name = strings.ToLower(name)
	text, err := unquote(strings.TrimSpace(text))
	switch {
	case err != nil:
		return fmt.Errorf("PARAMETER %.40s: %w", name, err)
	case len(name) > maxParameter || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
		return fmt.Errorf("PARAMETER %.40q is no name of a parameter", name)
	case text == "":
		return fmt.Errorf("PARAMETER %s has no value", name)
	}
	if f.Parameters == nil {
		f.Parameters = make(map[string]any)
	}
	if name == "stop" {
		stops, _ := f.Parameters[name].([]string)
		f.Parameters[name] = append(stops, text)
		return nil
	}
	f.Parameters[name] = number(text)
	return nil
}

// number is what Ollama would read of a parameter's value.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return x
	}
	if b, err := strconv.ParseBool(text); err == nil {
		return b
	}
	return text
}

// ParameterNames gives the names of the parameters, in order.
func (f *File) ParameterNames() []string { return slices.Sorted(maps.Keys(f.Parameters)) }

// reader takes a Modelfile apart.
type reader struct {
	rest string
	line int
}

// next gives the next instruction, in capitals, with what follows it, and its line. There
// is none when it is empty.
func (r *reader) next() (instruction, value string, at int, err error) {
	for r.rest != "" {
		at = r.line
		line := r.takeLine()
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		word, after, _ := strings.Cut(strings.ReplaceAll(trimmed, "\t", " "), " ")
		after = strings.TrimSpace(after)
		instruction = strings.ToUpper(word)
		if start := strings.Index(after, `"""`); start >= 0 && (start == 0 || instruction == "MESSAGE" || instruction == "PARAMETER") {
			text, err := r.long(after[start+3:])
			return instruction, after[:start] + text, at, err
		}
		if instruction != "MESSAGE" && instruction != "PARAMETER" { // of which the value comes later
			after, err = unquote(after)
		}
		return instruction, after, at, err
	}
	return "", "", r.line, nil
}

func (r *reader) takeLine() string {
	line, rest, _ := strings.Cut(r.rest, "\n")
	r.rest = rest
	r.line++
	return line
}

// long reads a text that began with three quotes, up to the next three.
func (r *reader) long(first string) (string, error) {
	var text strings.Builder
	for line := first; ; line = r.takeLine() {
		before, after, found := strings.Cut(line, `"""`)
		text.WriteString(before)
		switch {
		case found && strings.TrimSpace(after) != "":
			return "", fmt.Errorf("something follows the closing quotes: %.40q", after)
		case found:
			return text.String(), nil
		case r.rest == "":
			return "", errors.New(`a text in """ does not end`)
		}
		text.WriteByte('\n')
	}
}

// unquote takes the quotes from a text that has some.
func unquote(text string) (string, error) {
	if !strings.HasPrefix(text, `"`) {
		return text, nil
	}
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return "", errors.New(`a text in " does not end in its line; longer ones stand in """`)
	}
	return text[1 : len(text)-1], nil
}
