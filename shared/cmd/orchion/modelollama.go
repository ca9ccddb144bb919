package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/modelfile"
	"github.com/orchion/orchion/shared/settings"
)

// ollamaFlags are what is different from Ollama's defaults.
type ollamaFlags struct {
	modelfile         string
	parallel, context int32
	keepAlive         time.Duration
}

func (o *ollamaFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.modelfile, "modelfile", "", "with ollama: make MODEL as this Modelfile says; - is the standard input")
	f.Int32Var(&o.parallel, "num-parallel", 0, "with ollama: requests that a copy answers at once, 1 to 1024 (default: as Ollama decides)")
	f.Int32Var(&o.context, "context-length", 0, "with ollama: tokens of each conversation (default: as Ollama decides)")
	f.Var(settings.NewPeriod(&o.keepAlive), "keep-alive", "with ollama: how long the model stays in memory unused, 1s to 365d (default: always)")
}

// settings are what the flags say; nil: nothing.
func (o *ollamaFlags) settings(f *pflag.FlagSet, stdin io.Reader) (*orchionv1.OllamaSettings, error) {
	s := &orchionv1.OllamaSettings{}
	said := false
	for flag, take := range map[string]func() error{
		"num-parallel":   func() error { s.NumParallel = &o.parallel; return nil },
		"context-length": func() error { s.ContextLength = &o.context; return nil },
		"keep-alive":     func() error { s.KeepAlive = durationpb.New(o.keepAlive); return nil },
		"modelfile":      func() (err error) { s.Modelfile, err = readModelfile(o.modelfile, stdin); return err },
	} {
		if !f.Changed(flag) {
			continue
		}
		said = true
		if err := take(); err != nil {
			return nil, err
		}
	}
	if !said {
		return nil, nil
	}
	return s, nil
}

// readModelfile reads a file that the orchestrator will read again; what is wrong with it
// is said with its name.
func readModelfile(path string, stdin io.Reader) (string, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", usagef("--modelfile: %v", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, modelfile.MaxSize+1))
	if err == nil {
		_, err = modelfile.Parse(string(text))
	}
	if err != nil {
		return "", usagef("--modelfile %s: %v", path, err)
	}
	return string(text), nil
}

// ollamaText says what is different from Ollama's defaults; empty: nothing.
func ollamaText(o *orchionv1.OllamaSettings) string {
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf(format, args...)
	}
	if file, err := modelfile.Parse(o.GetModelfile()); err == nil {
		add("made of %s", file.From)
	}
	if o.GetNumParallel() > 0 {
		add("%d at once", o.GetNumParallel())
	}
	if o.GetContextLength() > 0 {
		add("%d tokens each", o.GetContextLength())
	}
	if keep := o.GetKeepAlive(); keep != nil {
		add("in memory for %s", keep.AsDuration())
	}
	return text
}
