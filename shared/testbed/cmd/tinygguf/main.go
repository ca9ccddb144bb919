// Command tinygguf writes a tiny language model as a GGUF file; see package
// tinygguf for what it can do.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/orchion/orchion/shared/testbed/tinygguf"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tinygguf:", err)
		os.Exit(1)
	}
}

func run() error {
	var o tinygguf.Options
	out := flag.String("o", "tiny.gguf", "file to write")
	flag.StringVar(&o.Name, "name", "tiny", "the model's own name")
	flag.StringVar(&o.Text, "text", "Hello from a tiny model. It says the same thing every time.", "what the model answers")
	flag.StringVar(&o.ToolCall, "tool-call", "", `what it says when tools are offered, as {"name": "...", "parameters": {...}}`)
	flag.BoolVar(&o.Loop, "loop", false, "say the text again and again, never stopping")
	flag.IntVar(&o.Layers, "layers", 1, "transformer blocks; more make the file larger and the model slower")
	flag.IntVar(&o.FeedForward, "ff", 64, "feed-forward width; likewise")
	flag.IntVar(&o.Context, "ctx", 2048, "context length the model claims, in tokens")
	modelfile := flag.Bool("template", false, "print the Modelfile TEMPLATE for Ollama instead")
	flag.Parse()
	if *modelfile {
		fmt.Println(tinygguf.OllamaTemplate)
		return nil
	}
	model, err := tinygguf.New(o)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, model, 0o644)
}
