package modelregistry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Media types of Ollama's registry (server/layer.go and types/model of Ollama
// 0.6).
const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	configType   = "application/vnd.docker.container.image.v1+json"
	weightsType  = "application/vnd.ollama.image.model"
	templateType = "application/vnd.ollama.image.template"
	paramsType   = "application/vnd.ollama.image.params"
)

// Model is a model that the registry serves as NAME:latest of the namespace
// "library", which is what a bare name means to Ollama.
type Model struct {
	name     string
	manifest []byte
	blobs    map[string][]byte // by digest
}

// Spec says what a model consists of.
type Spec struct {
	// Name is what it is pulled by.
	Name string
	// Weights is a GGUF file of the llama architecture.
	Weights []byte
	// Template is the Modelfile's TEMPLATE, in Ollama's own syntax.
	Template string
	// Parameters are the Modelfile's PARAMETERs.
	Parameters map[string]any
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

// NewModel packs a model the way `ollama push` does.
func NewModel(s Spec) (*Model, error) {
	m := &Model{name: s.Name, blobs: map[string][]byte{}}
	layers := []descriptor{m.add(weightsType, s.Weights)}
	if s.Template != "" {
		layers = append(layers, m.add(templateType, []byte(s.Template)))
	}
	if len(s.Parameters) > 0 {
		params, err := json.Marshal(s.Parameters)
		if err != nil {
			return nil, fmt.Errorf("pack model %s: parameters: %w", s.Name, err)
		}
		layers = append(layers, m.add(paramsType, params))
	}
	digests := make([]string, len(layers))
	for i, l := range layers {
		digests[i] = l.Digest
	}
	config, err := json.Marshal(map[string]any{
		"model_format":   "gguf",
		"model_family":   "llama",
		"model_families": []string{"llama"},
		"model_type":     "0.6M",
		"file_type":      "F16",
		"architecture":   "amd64",
		"os":             "linux",
		"rootfs":         map[string]any{"type": "layers", "diff_ids": digests},
	})
	if err != nil {
		return nil, fmt.Errorf("pack model %s: %w", s.Name, err)
	}
	m.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     manifestType,
		"config":        m.add(configType, config),
		"layers":        layers,
	})
	if err != nil {
		return nil, fmt.Errorf("pack model %s: %w", s.Name, err)
	}
	return m, nil
}

// Size is how much a pull downloads, in bytes.
func (m *Model) Size() int {
	size := 0
	for _, blob := range m.blobs {
		size += len(blob)
	}
	return size
}

func (m *Model) add(mediaType string, blob []byte) descriptor {
	sum := sha256.Sum256(blob)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	m.blobs[digest] = blob
	return descriptor{mediaType, digest, len(blob)}
}
