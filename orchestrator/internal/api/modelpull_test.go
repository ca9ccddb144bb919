package api

import (
	"strings"
	"testing"
)

func TestModelPullOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/api/models/m:pull", "{}", "no node is connected that has a container engine and does not serve the model m already"},
		{"POST", "/api/models/hf.co/OWNER/NAME-GGUF:Q4_K_M:pull", `{"nodeIds":["n1"]}`, `there is no node \"n1\"`},
		{"POST", "/api/models/m:pull", `{"nodeIds":[""]}`, "nodeIds[0]"},
		{"POST", "/api/models/m:pull", `{"nodeIds":["` + strings.Repeat(`a","`, 256) + `b"]}`, "nodeIds"},
		{"POST", "/api/models/m:pull", `{"image":"` + strings.Repeat("x", 10_000) + `"}`, "image: has 10000 characters"},
		{"POST", "/api/models/m:pull", `{"nodes":[]}`, "nodes"},
		{"POST", "/api/models/a%20b:pull", "{}", "the name of a model holds no spaces"},
		{"GET", "/api/models/m:pull", "", "no node was told to get the model m"},
	} {
		if got := h.call(t, tt.method, tt.path, tt.body); got.status < 400 || !strings.Contains(string(got.body), tt.want) {
			t.Errorf("%s %s: %d %s, want %q", tt.method, tt.path, got.status, got.body, tt.want)
		}
	}
}
