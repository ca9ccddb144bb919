package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxJobFile bounds a job file, and each file that it takes in, in bytes: more
// than the orchestrator takes.
const maxJobFile = 8 << 20

// loadJob reads a job from a YAML or JSON file: the body of POST /api/jobs, with
// what makes it easier to write. Its parameters get the values of set, and large
// what is to be uploaded before.
func loadJob(name string, set []string, large uploads) (*orchionv1.SubmitJobRequest, error) {
	values, err := keyValues("set", set)
	if err != nil {
		return nil, err
	}
	data, err := readLimited(name)
	if err != nil {
		return nil, usagef("--file %s: %w", name, err)
	}
	document, err := oneDocument(data)
	if err != nil {
		return nil, usagef("--file %s: %w", name, err)
	}
	request, err := jobOf(document, values, filepath.Dir(name), large)
	if err != nil {
		return nil, usagef("--file %s: %w", name, err)
	}
	return request, nil
}

// readLimited reads a file, or stdin for "-".
func readLimited(name string) ([]byte, error) {
	var from io.Reader = os.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			if wrapped := (*os.PathError)(nil); errors.As(err, &wrapped) {
				return nil, wrapped.Err
			}
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read from
		from = file
	}
	data, err := io.ReadAll(io.LimitReader(from, maxJobFile+1))
	if err == nil && len(data) > maxJobFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxJobFile)
	}
	return data, err
}

// oneDocument decodes YAML, of which JSON is a part.
func oneDocument(data []byte) (map[string]any, error) {
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var document, more map[string]any
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("is neither YAML nor JSON: %w", err)
	}
	if document == nil {
		return nil, errors.New("holds no job")
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one document; one file is one job")
	}
	return document, nil
}

// jobOf makes a job of a document. dir is where its files are looked for.
func jobOf(document map[string]any, set map[string]string, dir string, large uploads) (*orchionv1.SubmitJobRequest, error) {
	request := &orchionv1.SubmitJobRequest{}
	return request, fillInto(request, document, set, dir, large)
}

// fillInto makes a message of a document, with its parameters filled in.
func fillInto(message proto.Message, document map[string]any, set map[string]string, dir string, large uploads) error {
	parameters, err := parametersOf(document, set)
	if err != nil {
		return err
	}
	delete(document, "parameters")
	f := &filler{parameters: parameters, dir: dir, large: large}
	filled, err := f.fill("", document)
	if err != nil {
		return err
	}
	data, err := json.Marshal(filled)
	if err != nil {
		return fmt.Errorf("holds what JSON cannot: %w", err)
	}
	if err := protojson.Unmarshal(data, message); err != nil {
		return errors.New(protoMessage(err))
	}
	return nil
}

var protoPlace = regexp.MustCompile(`^proto:[\s\x{a0}]+\(line [0-9]+:[0-9]+\):\s*`)

// protoMessage is what protojson says without where: that is a place in JSON
// which nobody has seen.
func protoMessage(err error) string { return protoPlace.ReplaceAllString(err.Error(), "") }

// parametersOf are the document's parameters with their values: numbers and
// truth values when their default is one, text otherwise. One without a default
// must be set.
func parametersOf(document map[string]any, set map[string]string) (map[string]any, error) {
	declared, ok := document["parameters"].(map[string]any)
	if _, there := document["parameters"]; there && !ok {
		return nil, errors.New("parameters: must hold names with their defaults")
	}
	values := make(map[string]any, len(declared))
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if !parameterName.MatchString(name) {
			return nil, fmt.Errorf("parameters: %q is no name; use letters, digits, _ and -, a letter first", name)
		}
		standard := declared[name]
		text, given := set[name]
		switch standard.(type) {
		case nil:
			if !given {
				return nil, fmt.Errorf("the parameter %s has no default; give it with --set %s=VALUE", name, name)
			}
			values[name] = text
		case string, int, int64, uint64, float64, bool:
			values[name] = standard
			if given {
				value, err := like(standard, text)
				if err != nil {
					return nil, fmt.Errorf("--set %s: %w", name, err)
				}
				values[name] = value
			}
		default:
			return nil, fmt.Errorf("parameters: the default of %s must be text, a number, true or false", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, known := declared[name]; !known {
			return nil, fmt.Errorf("--set %s: the file declares no such parameter; it has %s", name, listed(slices.Sorted(maps.Keys(declared))))
		}
	}
	return values, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// like reads text as the kind of value that the default is.
func like(standard any, text string) (any, error) {
	switch standard.(type) {
	case bool:
		value, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("is %q; it must be true or false", text)
		}
		return value, nil
	case string:
		return text, nil
	default:
		if !json.Valid([]byte(text)) || !strings.ContainsAny(text[:1], "-0123456789") {
			return nil, fmt.Errorf("is %q; it must be a number", text)
		}
		return json.Number(text), nil
	}
}

var (
	parameterName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	// $${ stands for ${.
	placeholder = regexp.MustCompile(`\$?\$\{([^}]*)\}`)
)

// filler fills parameters into a document, and writes out what the file may say
// shorter than the API.
type filler struct {
	parameters map[string]any
	dir        string
	large      uploads
}

func (f *filler) fill(at string, value any) (any, error) {
	switch value := value.(type) {
	case map[string]any:
		return f.fillMap(at, value)
	case map[any]any:
		return nil, fmt.Errorf("%s: has a key that is not text; put it in quotes", at)
	case []any:
		filled := make([]any, len(value))
		for i := range value {
			var err error
			if filled[i], err = f.fill(fmt.Sprintf("%s[%d]", at, i), value[i]); err != nil {
				return nil, err
			}
		}
		return filled, nil
	case string:
		return f.fillText(at, value)
	default:
		if value != nil && textField.MatchString(at) {
			return nil, fmt.Errorf("%s: is %v, which is not text; put it in quotes", at, value)
		}
		return value, nil
	}
}

// textField are the fields in which people write what looks like a number and is
// none: 1.10 would arrive as 1.1.
var textField = regexp.MustCompile(`^(template\.)?(labels\..*|spec\.(container|process)\.(env\..*|(args|command)\[[0-9]+\]))$`)

func (f *filler) fillMap(at string, fields map[string]any) (any, error) {
	filled := make(map[string]any, len(fields))
	for key, value := range fields {
		field := key
		if at != "" {
			field = at + "." + key
		}
		value, err := f.fill(field, value)
		if err != nil {
			return nil, err
		}
		if filled[key], err = spelledOut(field, key, value); err != nil {
			return nil, err
		}
	}
	if fileField.MatchString(at) {
		return filled, f.takeIn(at, filled)
	}
	return filled, nil
}

// fillText fills parameters into text. Text that is nothing but one parameter
// becomes its value, a number if it is one, where that may be.
func (f *filler) fillText(at, text string) (any, error) {
	if whole := placeholder.FindStringSubmatch(text); whole != nil && whole[0] == text && !strings.HasPrefix(text, "$$") && !textField.MatchString(at) {
		return f.value(at, whole[1])
	}
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		value, err := f.value(at, placeholder.FindStringSubmatch(found)[1])
		if err != nil && failed == nil {
			failed = err
		}
		return written(value)
	})
	return filled, failed
}

// written gives a parameter's value as text.
func written(value any) string {
	if number, ok := value.(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

func (f *filler) value(at, name string) (any, error) {
	value, known := f.parameters[name]
	if !known {
		return nil, fmt.Errorf("%s: ${%s} is no parameter of the file; it has %s; write $${ for a plain ${", at, name, listed(slices.Sorted(maps.Keys(f.parameters))))
	}
	return value, nil
}

// durationFields are the fields of a job that hold a duration.
var durationFields = []string{"timeout", "startTimeout", "stopGrace", "initialBackoff", "maxBackoff", "queueTimeout"}

// spelledOut gives a value as the API takes it: sizes and durations may be
// written as in flags. The names of a job's own choosing are left alone.
func spelledOut(at, key string, value any) (any, error) {
	text, ok := value.(string)
	if !ok || !strings.HasPrefix(strings.TrimPrefix(at, "template."), "spec.") || strings.Contains(at, ".env.") {
		return value, nil
	}
	switch {
	case strings.HasSuffix(key, "Bytes"):
		size, err := parseSize("", text)
		if err != nil {
			return nil, fmt.Errorf("%s: is %q; it must be a size such as 512MiB or 2GiB", at, text)
		}
		return size, nil
	case slices.Contains(durationFields, key):
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("%s: is %q; it must be a duration such as 90s or 1h30m", at, text)
		}
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s", nil
	case key == "startAfter":
		when, err := parseStartAfter(text, time.Now())
		if err != nil || when == nil {
			return nil, fmt.Errorf("%s: is %q; it must be a time such as 2026-01-02T15:04:05Z or a duration from now such as 30m", at, text)
		}
		return when.AsTime().Format(time.RFC3339Nano), nil
	}
	return value, nil
}

var fileField = regexp.MustCompile(`^(template\.)?spec\.container\.files\[[0-9]+\]$`)

// takeIn puts into an input file the content that the job file has as text or
// names with from, a path beside it.
func (f *filler) takeIn(at string, file map[string]any) error {
	ways := 0
	for _, way := range []string{"content", "text", "from", "blob"} {
		if _, there := file[way]; there {
			ways++
		}
	}
	if ways > 1 {
		return fmt.Errorf("%s: give one of text, from, content and blob", at)
	}
	if given, there := file["text"]; there {
		text, ok := given.(string)
		if !ok {
			return fmt.Errorf("%s.text: must be text; put it in quotes", at)
		}
		file["content"] = base64.StdEncoding.EncodeToString([]byte(text))
		delete(file, "text")
	}
	if given, there := file["from"]; there {
		name, ok := given.(string)
		if !ok || name == "" || name == "-" {
			return fmt.Errorf("%s.from: must be the path of a file", at)
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(f.dir, name)
		}
		taken, err := f.large.take(name)
		if err != nil {
			return fmt.Errorf("%s.from: %s: %w", at, name, err)
		}
		delete(file, "from")
		if taken.GetBlob() != "" {
			file["blob"] = taken.GetBlob()
		} else {
			file["content"] = base64.StdEncoding.EncodeToString(taken.GetContent())
		}
	}
	return nil
}
