package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxDocuments bounds what is applied at once.
const maxDocuments = 1000

// The kinds of documents.
const (
	kindJob        = "Job"
	kindDeployment = "Deployment"
	kindQueue      = "Queue"
	kindSchedule   = "Schedule"
)

var kinds = []string{kindJob, kindDeployment, kindQueue, kindSchedule}

// document is one thing that a file wants there to be.
type document struct {
	file   string
	number int // within the file, from 1
	line   int
	kind   string
	name   string
	// request is the body of the call that makes it.
	request proto.Message
	uploads uploads
}

// at says where a document is, and what.
func (d *document) at() string {
	text := fmt.Sprintf("%s: document %d, line %d", d.file, d.number, d.line)
	if d.kind != "" {
		text += fmt.Sprintf(" (%s %s)", d.kind, cmp.Or(d.name, "without a name"))
	}
	return text
}

// readDocuments reads files and folders. Every mistake in them is found before
// anything is done.
func readDocuments(paths []string, set map[string]string) ([]*document, error) {
	var names []string
	for _, path := range paths {
		found, err := filesOf(path)
		if err != nil {
			return nil, usagef("--file %s: %w", path, err)
		}
		names = append(names, found...)
	}
	var documents []*document
	used, declared := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		data, err := readLimited(name)
		if err != nil {
			return nil, usagef("--file %s: %w", name, err)
		}
		found, err := documentsOf(name, data, set, used, declared)
		if err != nil {
			return nil, usageError{err}
		}
		if documents = append(documents, found...); len(documents) > maxDocuments {
			return nil, usagef("--file: more than %d documents; apply them in parts", maxDocuments)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !used[name] {
			return nil, usagef("--set %s: no document declares such a parameter; they have %s", name, listed(slices.Sorted(maps.Keys(declared))))
		}
	}
	if len(documents) == 0 {
		return nil, usagef("--file %s: holds no document", strings.Join(paths, ", "))
	}
	return documents, onceEach(documents)
}

// filesOf are the files that a path stands for: those of a folder by name.
func filesOf(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, plainPathError(err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // ordered by name
	if err != nil {
		return nil, plainPathError(err)
	}
	var names []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			if !e.IsDir() {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
	}
	if len(names) == 0 {
		return nil, errors.New("holds no file that ends in .yaml, .yml or .json")
	}
	return names, nil
}

// onceEach finds two documents of one name.
func onceEach(documents []*document) error {
	first := map[[2]string]*document{}
	for _, d := range documents {
		key := [2]string{d.kind, d.name}
		if other := first[key]; other != nil {
			return usagef("%s: is there already as %s", d.at(), other.at())
		}
		first[key] = d
	}
	return nil
}

func documentsOf(file string, data []byte, set map[string]string, used, declared map[string]bool) ([]*document, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var documents []*document
	for number := 1; ; number++ {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: is neither YAML nor JSON: %w", file, number, err)
		}
		if empty(&node) {
			continue
		}
		d := &document{file: file, number: number, line: node.Content[0].Line, uploads: uploads{}}
		if err := d.read(&node, set, used, declared); err != nil {
			if line := lineOf(node.Content[0], err.Error()); line > 0 {
				d.line = line
			}
			return nil, fmt.Errorf("%s: %w", d.at(), err)
		}
		documents = append(documents, d)
	}
}

func empty(node *yaml.Node) bool {
	return len(node.Content) == 0 || node.Content[0].Tag == "!!null"
}

// read makes a request of a document.
func (d *document) read(node *yaml.Node, set map[string]string, used, declared map[string]bool) error {
	var fields map[string]any
	if err := node.Decode(&fields); err != nil {
		return errors.New("is not a mapping with text as keys")
	}
	kind, _ := fields["kind"].(string)
	if !slices.Contains(kinds, kind) {
		return fmt.Errorf("kind: is %q; it must be %s", kind, listed(kinds))
	}
	d.kind = kind
	d.name, _ = fields["name"].(string) // for errors, until its parameters are filled in
	// What is set goes to the documents that declare it.
	own := map[string]string{}
	parameters, _ := fields["parameters"].(map[string]any)
	for name := range parameters {
		declared[name] = true
		if value, given := set[name]; given {
			own[name], used[name] = value, true
		}
	}
	delete(fields, "kind")
	later := startText(fields, own)
	request := newRequest(kind)
	if err := fillInto(request, fields, own, filepath.Dir(d.file), d.uploads); err != nil {
		return err
	}
	d.request = request
	if named, ok := request.(interface{ GetName() string }); ok {
		d.name = named.GetName()
	}
	if d.name == "" {
		return errors.New("name: must be given: by it the document is known again")
	}
	switch request := request.(type) {
	case *orchionv1.SubmitJobRequest:
		d.uploads.fit(request.GetSpec().GetContainer())
		if request.GetIdempotencyKey() == "" {
			request.IdempotencyKey = contentKey(request, later)
		}
	case *orchionv1.PutScheduleRequest:
		d.uploads.fit(request.GetTemplate().GetSpec().GetContainer())
	}
	return nil
}

func newRequest(kind string) proto.Message {
	switch kind {
	case kindDeployment:
		return &orchionv1.CreateDeploymentRequest{}
	case kindQueue:
		return &orchionv1.PutQueueRequest{}
	case kindSchedule:
		return &orchionv1.PutScheduleRequest{}
	default:
		return &orchionv1.SubmitJobRequest{}
	}
}

// startText is what a job's document says of when it may start, as it is written but with
// its parameters filled in: a period from now is another time each time it is read.
func startText(fields map[string]any, set map[string]string) string {
	spec, _ := fields["spec"].(map[string]any)
	text, ok := spec["startAfter"].(string)
	if !ok {
		return ""
	}
	parameters, err := parametersOf(fields, set)
	if err != nil {
		return "" // filling the document says it
	}
	filled, err := (&filler{parameters: parameters}).fillText("spec.startAfter", text)
	if err != nil {
		return ""
	}
	return written(filled)
}

// contentKey is the idempotency key of a job that is known by its name and all that
// it says: submitting it again answers the job that is there.
func contentKey(request *orchionv1.SubmitJobRequest, later string) string {
	content := proto.CloneOf(request)
	if content.GetSpec() != nil {
		content.Spec.StartAfter = nil
	}
	data, err := protojson.Marshal(content)
	var plain any
	if err == nil {
		err = json.Unmarshal(data, &plain) // protojson varies its white space on purpose
	}
	if err == nil {
		data, err = json.Marshal(plain) // in the order of the keys
	}
	if err != nil {
		panic(err) // it was made of JSON
	}
	sum := sha256.Sum256(append(data, later...))
	return "apply/" + request.GetName() + "/" + hex.EncodeToString(sum[:16])
}

var (
	// fieldPath begins an error that names a field.
	fieldPath = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z][A-Za-z0-9_-]*|\[[0-9]+\])*):? `)
	// unknownField is how protojson names a key that it does not know, or a value that does
	// not go with it.
	unknownField = regexp.MustCompile(`(?:unknown field|for \w+ field) "?([A-Za-z0-9_]+)"?`)
	pathStep     = regexp.MustCompile(`[^.\[\]]+`)
)

// lineOf finds the line of what an error is about; 0: it does not say.
func lineOf(root *yaml.Node, message string) int {
	if found := unknownField.FindStringSubmatch(message); found != nil {
		return lineOfKey(root, found[1])
	}
	found := fieldPath.FindStringSubmatch(message)
	if found == nil {
		return 0
	}
	node, line := root, 0
	for _, step := range pathStep.FindAllString(found[1], -1) {
		var next *yaml.Node
		switch node.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == step {
					next, line = node.Content[i+1], node.Content[i].Line
				}
			}
		case yaml.SequenceNode:
			var index int
			if _, err := fmt.Sscan(step, &index); err == nil && index < len(node.Content) {
				next = node.Content[index]
				line = next.Line
			}
		}
		if next == nil {
			return line
		}
		node = next
	}
	return line
}

func lineOfKey(node *yaml.Node, key string) int {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 && child.Value == key {
			return child.Line
		}
		if line := lineOfKey(child, key); line > 0 {
			return line
		}
	}
	return 0
}
