package modelinfo

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

// ollamaName is a model's name in its parts.
type ollamaName struct{ host, namespace, model, tag string }

const ollamaRegistry = "registry.ollama.ai"

// As in Ollama's types/model package: [HOST/][NAMESPACE/]MODEL[:TAG].
var ollamaRE = regexp.MustCompile(`^` +
	`(?:(?:([a-zA-Z0-9_][a-zA-Z0-9._-]{0,253}(?::[0-9]{1,5})?)/)?([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79})/)?` +
	`([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79})` +
	`(?::([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79}))?$`)

func parseOllama(model string) (ollamaName, error) {
	parts := ollamaRE.FindStringSubmatch(model)
	if parts == nil || strings.Contains(model, "..") {
		return ollamaName{}, fmt.Errorf("%w: model: %q is not a model of Ollama's, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M", ErrInvalid, clip(model))
	}
	n := ollamaName{parts[1], parts[2], parts[3], parts[4]}
	if n.host == "" {
		n.host = ollamaRegistry
	}
	if n.namespace == "" {
		n.namespace = "library"
	}
	if n.tag == "" {
		n.tag = "latest"
	}
	return n, nil
}

// canonical is the name as Ollama lists it.
func (n ollamaName) canonical() string {
	text := n.model + ":" + n.tag
	if n.namespace != "library" || n.host != ollamaRegistry {
		text = n.namespace + "/" + text
	}
	if n.host != ollamaRegistry {
		text = n.host + "/" + text
	}
	return text
}

// base is where the registry keeps the model.
func (n ollamaName) base() string {
	scheme := "https://"
	host, _, err := net.SplitHostPort(n.host)
	if err != nil {
		host = n.host
	}
	if host == "localhost" || strings.HasPrefix(host, "127.") { // as Ollama pulls from there
		scheme = "http://"
	}
	return scheme + n.host + "/v2/" + n.namespace + "/" + n.model
}

// [OWNER/]NAME, as Hugging Face allows it.
var huggingFaceRE = regexp.MustCompile(`^(?:[a-zA-Z0-9][a-zA-Z0-9_.-]{0,95}/)?[a-zA-Z0-9][a-zA-Z0-9_.-]{0,95}$`)

func checkHuggingFace(model string) error {
	if !huggingFaceRE.MatchString(model) || strings.Contains(model, "..") || strings.Contains(model, "--") {
		return fmt.Errorf("%w: model: %q is not a model on Hugging Face, such as Qwen/Qwen3-8B", ErrInvalid, clip(model))
	}
	return nil
}
