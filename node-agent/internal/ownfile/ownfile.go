// Package ownfile reads the files by which the owner of a machine tells its node agent what
// no orchestrator may: only when nobody else can have written them, strictly, and again
// whenever they change.
package ownfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFile bounds a file.
	maxFile = 1 << 20
	// LookPeriod is how often it is looked whether a file has changed. It is most of what
	// wakes an agent that has nothing to do.
	LookPeriod = 5 * time.Second
)

// Decode reads one YAML document into a struct. An unknown key is an error with its line.
func Decode(data []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return yamlError(err)
	}
	var more any
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return errors.New("holds more than one document")
	}
	return nil
}

// DecodeSecret is Decode for a file that holds secrets: an error tells the line and nothing
// that stands there, but for a key that can be no more than a slip of the pen.
func DecodeSecret(data []byte, into any) error {
	err := Decode(data, into)
	if err == nil {
		return nil
	}
	at := lineNumber.FindString(err.Error())
	if at == "" {
		return errors.New("is not written as it must be")
	}
	if key := plainKey.FindString(err.Error()); key != "" {
		return errors.New(key)
	}
	return fmt.Errorf("%s: is not written as it must be, which is not quoted here since it may be secret", at)
}

var (
	lineNumber = regexp.MustCompile(`line [0-9]+`)
	plainKey   = regexp.MustCompile(`^line [0-9]+: there is no key [A-Za-z]{1,16} here`)
)

// yamlError is the decoder's error without its own prefixes: "line 3: field proceses not
// found in type policy.file" becomes what a person can act on.
func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n  ")
	text = unknownKey.ReplaceAllString(text, "there is no key $1 here")
	return errors.New(strings.ReplaceAll(text, "\n  ", "; "))
}

var unknownKey = regexp.MustCompile(`field (\S+) not found in type .*`)

// Read reads a file that only its owner, who is this user or root, can have written, and,
// of secrets, read.
func Read(path string, secrets bool) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		if wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped) {
			return nil, wrapped.Err
		}
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("has %d bytes; at most %d are allowed", info.Size(), maxFile)
	}
	check := Trusted
	if secrets {
		check = secret
	}
	if err := check(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Config says what file is followed, and how.
type Config[T any] struct {
	// What it is, for people: "the policy file".
	What string
	Path string
	// Required: that it is not there is an error. Otherwise it is as if it were empty.
	Required bool
	// Secrets: nobody else may read it.
	Secrets bool
	// Parse makes of its bytes what it says; of none the least that it can.
	Parse func([]byte) (T, error)
	// Same says whether others need not hear of a change.
	Same   func(before, after T) bool
	Logger *slog.Logger
}

// File is a file that is followed as it changes.
type File[T any] struct {
	cfg Config[T]

	mu      sync.Mutex // guards what follows
	current T
	seen    stamp
}

// stamp tells two states of a file apart.
type stamp struct {
	size    int64
	changed time.Time
	mode    fs.FileMode
	there   bool
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime(), info.Mode(), true}
}

// Open reads a file and makes it one to be followed.
func Open[T any](cfg Config[T]) (*File[T], error) {
	f := &File[T]{cfg: cfg, seen: stampOf(cfg.Path)}
	var err error
	f.current, err = f.load()
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File[T]) load() (T, error) {
	data, err := Read(f.cfg.Path, f.cfg.Secrets)
	if errors.Is(err, fs.ErrNotExist) && !f.cfg.Required {
		data, err = nil, nil
	}
	if err == nil {
		var parsed T
		if parsed, err = f.cfg.Parse(data); err == nil {
			return parsed, nil
		}
	}
	var none T
	return none, fmt.Errorf("%s %s: %w", f.cfg.What, f.cfg.Path, err)
}

// Current is what the file says now.
func (f *File[T]) Current() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// Follow reads the file again whenever it changes, until ctx ends, and calls changed when
// it says something else. While it is wrong it is as if it were empty: a mistake must not
// leave open what was to be closed.
func (f *File[T]) Follow(ctx context.Context, changed func()) {
	ticker := time.NewTicker(LookPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if f.look() {
			changed()
		}
	}
}

// look reads the file again if it has changed, and says whether it says something else.
func (f *File[T]) look() bool {
	seen := stampOf(f.cfg.Path)
	f.mu.Lock()
	same := seen == f.seen
	f.mu.Unlock()
	if same {
		return false
	}
	next, err := f.load()
	if err != nil {
		f.cfg.Logger.Error("nothing of this file counts until it is put right", "error", err)
		next, err = f.cfg.Parse(nil)
	} else {
		f.cfg.Logger.Info("a file of this machine's owner has changed", "file", f.cfg.Path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.current
	f.current, f.seen = next, seen
	return err == nil && !f.cfg.Same(before, next)
}
