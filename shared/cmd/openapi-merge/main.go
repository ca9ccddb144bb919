// Command openapi-merge joins the OpenAPI documents that protoc-gen-openapiv3
// writes, one for each proto file, into the one document that the
// orchestrator serves at /api/openapi.json and that the TypeScript types are
// made from. The inputs are removed: they are not kept beside the result.
//
//	openapi-merge -dir shared/gen/openapi/orchion/v1 -out shared/gen/openapi/openapi.json
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
)

// document is the part of an OpenAPI document that differs between files.
type document struct {
	OpenAPI string            `json:"openapi"`
	Info    map[string]string `json:"info"`
	// Tags and Paths keep their own order inside; the keys are sorted by
	// encoding/json, so that the result does not depend on the input order.
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	} `json:"components"`
}

func main() {
	dir := flag.String("dir", "", "folder with the *.openapi.json files to join")
	out := flag.String("out", "", "file to write")
	flag.Parse()
	if err := merge(*dir, *out); err != nil {
		fmt.Fprintln(os.Stderr, "openapi-merge:", err)
		os.Exit(1)
	}
}

func merge(dir, out string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.openapi.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("-dir %q holds no *.openapi.json file", dir)
	}
	all := document{
		Info: map[string]string{
			"title":       "Orchion",
			"version":     "v1",
			"description": "Run AI agents across every machine you own.",
		},
		Paths: map[string]map[string]json.RawMessage{},
	}
	all.Components.Schemas = map[string]json.RawMessage{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var doc document
		if err := json.Unmarshal(data, &doc); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all.OpenAPI = doc.OpenAPI
		for path, operations := range doc.Paths {
			if all.Paths[path] == nil {
				all.Paths[path] = map[string]json.RawMessage{}
			}
			maps.Copy(all.Paths[path], operations)
		}
		maps.Copy(all.Components.Schemas, doc.Components.Schemas)
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(data, '\n'), 0o644); err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}
