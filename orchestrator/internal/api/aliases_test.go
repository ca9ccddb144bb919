package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	h := newHarness(t, settings{})
	type alias struct {
		Name            string
		Models, LeadsTo []string
		Aliases         []alias
		NextPageToken   string
		Message         string
	}
	call := func(method, path, body string, status int) (a alias) {
		t.Helper()
		answer := h.call(t, method, path, body)
		if answer.status != status {
			t.Fatalf("%s %s answers %d %s, want %d", method, path, answer.status, answer.body, status)
		}
		answer.decode(t, &a)
		return a
	}
	if a := call("GET", "/api/gateway/aliases", "", http.StatusOK); len(a.Aliases) != 0 {
		t.Errorf("a new orchestrator has the aliases %+v", a)
	}
	call("PUT", "/api/gateway/aliases/fast", `{"models":["qwen3:0.6b","small"]}`, http.StatusOK)
	a := call("PUT", "/api/gateway/aliases/coder", `{"models":["Qwen/Qwen3-8B","fast"]}`, http.StatusOK)
	if want := []string{"Qwen/Qwen3-8B", "qwen3:0.6b", "small"}; a.Name != "coder" || !slices.Equal(a.LeadsTo, want) {
		t.Errorf("the alias is %+v, want it to lead to %v", a, want)
	}
	if a := call("GET", "/api/gateway/aliases/fast", "", http.StatusOK); !slices.Equal(a.Models, []string{"qwen3:0.6b", "small"}) {
		t.Errorf("the other is %+v", a)
	}
	page := call("GET", "/api/gateway/aliases?pageSize=1", "", http.StatusOK)
	if len(page.Aliases) != 1 || page.Aliases[0].Name != "coder" || page.NextPageToken == "" {
		t.Fatalf("the first page is %+v", page)
	}
	if page = call("GET", "/api/gateway/aliases?pageToken="+page.NextPageToken, "", http.StatusOK); len(page.Aliases) != 1 || page.Aliases[0].Name != "fast" {
		t.Errorf("the second page is %+v", page)
	}
	for _, bad := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/api/gateway/aliases/fast", `{"models":["coder"]}`, http.StatusBadRequest, "models: lead in a circle: "},
		{"PUT", "/api/gateway/aliases/fast", `{"models":[]}`, http.StatusBadRequest, "models: has 0 models; an alias leads to 1 to 16"},
		{"PUT", "/api/gateway/aliases/fast", `{"models":["a","a"]}`, http.StatusBadRequest, `models: has "a" twice`},
		{"PUT", "/api/gateway/aliases/a%20b", `{"models":["a"]}`, http.StatusBadRequest, "name: "},
		{"PUT", "/api/gateway/aliases/fast", `{"model":["a"]}`, http.StatusBadRequest, "model"},
		{"GET", "/api/gateway/aliases/none", "", http.StatusNotFound, `there is no alias "none"`},
		{"DELETE", "/api/gateway/aliases/none", "", http.StatusNotFound, `there is no alias "none"`},
	} {
		if a := h.call(t, bad.method, bad.path, bad.body); a.status != bad.status || !strings.Contains(string(a.body), strings.ReplaceAll(bad.says, `"`, `\"`)) {
			t.Errorf("%s %s %s answers %d %s, want %d %s", bad.method, bad.path, bad.body, a.status, a.body, bad.status, bad.says)
		}
	}
	if a := call("GET", "/api/gateway/aliases/fast", "", http.StatusOK); len(a.Models) != 2 {
		t.Errorf("what was refused changed it: %+v", a)
	}
	call("DELETE", "/api/gateway/aliases/fast", "", http.StatusOK)
	// Its name is that of a model to the alias that leads to it.
	if a := call("GET", "/api/gateway/aliases/coder", "", http.StatusOK); !slices.Equal(a.LeadsTo, []string{"Qwen/Qwen3-8B", "fast"}) {
		t.Errorf("without the other, the alias is %+v", a)
	}
}
