package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
)

// tool is something that the model may ask for.
type tool struct {
	definition openai.FunctionDefinitionParam
	// run takes the arguments as the model wrote them: JSON, or so it should be.
	run func(arguments string) (string, error)
}

func builtinTools() []tool {
	none := openai.FunctionParameters{"type": "object", "properties": map[string]any{}}
	return []tool{
		{
			definition: openai.FunctionDefinitionParam{
				Name:        "machine",
				Description: openai.String("Tells about the machine this agent runs on: node, job, system, cores and memory."),
				Parameters:  none,
			},
			run: func(string) (string, error) { return machine() },
		},
		{
			definition: openai.FunctionDefinitionParam{
				Name:        "now",
				Description: openai.String("Tells the present time, optionally in a time zone such as Europe/Berlin."),
				Parameters: openai.FunctionParameters{
					"type":       "object",
					"properties": map[string]any{"zone": map[string]any{"type": "string"}},
				},
			},
			run: now,
		},
	}
}

func machine() (string, error) {
	facts := map[string]any{
		"node":  os.Getenv("ORCHION_NODE_ID"),
		"job":   os.Getenv("ORCHION_JOB_ID"),
		"os":    runtime.GOOS,
		"arch":  runtime.GOARCH,
		"cores": runtime.NumCPU(),
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if size, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				facts["memory"] = strings.TrimSpace(size)
			}
		}
	}
	out, err := json.Marshal(facts)
	return string(out), err
}

func now(arguments string) (string, error) {
	var args struct {
		Zone string `json:"zone"`
	}
	if err := json.Unmarshal([]byte(arguments), &args); err != nil {
		return "", fmt.Errorf("the arguments are no JSON object: %w", err)
	}
	zone, err := time.LoadLocation(args.Zone)
	if err != nil {
		return "", fmt.Errorf("zone: %w", err)
	}
	return time.Now().In(zone).Format(time.RFC1123), nil
}
