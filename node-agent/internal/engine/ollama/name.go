package ollama

import (
	"fmt"
	"regexp"
	"strings"
)

// A name is [HOST/][NAMESPACE/]MODEL[:TAG], as in Ollama's types/model package.
var modelRE = regexp.MustCompile(`^` +
	`(?:(?:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,253}(?::[0-9]{1,5})?/)?[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79}/)?` +
	`[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79}` +
	`(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79})?$`)

func validateModel(model string) error {
	if !modelRE.MatchString(model) || strings.Contains(model, "..") {
		return fmt.Errorf("model: %q is not a model of Ollama's, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M", model)
	}
	return nil
}

// canonical writes a valid name as Ollama lists it: with a tag, without the default
// registry and namespace.
func canonical(model string) string {
	model = strings.TrimPrefix(model, "registry.ollama.ai/")
	model = strings.TrimPrefix(model, "library/")
	if !strings.Contains(model[strings.LastIndexByte(model, '/')+1:], ":") {
		model += ":latest"
	}
	return model
}

// insecure says whether a name leads to a registry on loopback, which speaks plain HTTP.
func insecure(model string) bool {
	host, _, found := strings.Cut(model, "/")
	host, _, _ = strings.Cut(host, ":")
	return found && (host == "localhost" || strings.HasPrefix(host, "127."))
}
