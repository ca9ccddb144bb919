package ollama

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestManifestPath(t *testing.T) {
	const folder = "/root/.ollama/models/manifests/"
	for model, want := range map[string]string{
		"tiny":                             "registry.ollama.ai/library/tiny/latest",
		"qwen3:0.6b":                       "registry.ollama.ai/library/qwen3/0.6b",
		"owner/name":                       "registry.ollama.ai/owner/name/latest",
		"hf.co/OWNER/NAME-GGUF:Q4_K_M":     "hf.co/OWNER/NAME-GGUF/Q4_K_M",
		"localhost:5000/library/tiny":      "localhost:5000/library/tiny/latest",
		"registry.ollama.ai/library/tiny":  "registry.ollama.ai/library/tiny/latest",
		"registry.ollama.ai/owner/tiny:v1": "registry.ollama.ai/owner/tiny/v1",
	} {
		if got := manifestPath(canonical(model)); got != folder+want {
			t.Errorf("%s lies at %s, want %s", model, got, folder+want)
		}
	}
}

func TestParseManifest(t *testing.T) {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	entry := func(digest string, size int) string { return fmt.Sprintf(`{"digest":%q,"size":%d}`, digest, size) }
	m, err := parseManifest([]byte(`{"config":` + entry(digest("c"), 5) + `,"layers":[` + entry(digest("a"), 1000) + `,` + entry(digest("b"), 1) + `,` + entry(digest("b"), 1) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.files(), []layer{{digest("b"), 1}, {digest("c"), 5}, {digest("a"), 1000}}; !slices.Equal(got, want) {
		t.Errorf("files are %v, want %v", got, want)
	}
	for name, text := range map[string]string{
		"not JSON":   `{`,
		"no layers":  `{"config":` + entry(digest("c"), 5) + `,"layers":[]}`,
		"no config":  `{"layers":[` + entry(digest("a"), 1) + `]}`,
		"a path":     `{"config":` + entry(digest("c"), 5) + `,"layers":[` + entry("sha256:../../../etc/passwd", 1) + `]}`,
		"upper case": `{"config":` + entry(digest("c"), 5) + `,"layers":[` + entry(digest("A"), 1) + `]}`,
		"negative":   `{"config":` + entry(digest("c"), 5) + `,"layers":[` + entry(digest("a"), -1) + `]}`,
	} {
		if _, err := parseManifest([]byte(text)); err == nil {
			t.Errorf("%s was taken for a manifest", name)
		}
	}
}
