package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// leading gives a gateway's Config the aliases of a map.
func leading(cfg Config, aliases map[string][]string) Config {
	cfg.LeadsTo = func(name string) []string { return aliases[name] }
	cfg.Aliases = func() (names []string) {
		for name := range aliases {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	return cfg
}

// saysModel answers with the name of the model that it was asked for.
var saysModel = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Model string }
	_ = json.NewDecoder(r.Body).Decode(&asked)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"engine asked for":"`+asked.Model+`"}`)
})

var bigAndSmall = fixedRoutes{
	{Model: "big", NodeID: "n1", ReplicaID: "r1", Engine: "vllm"},
	{Model: "small", NodeID: "n2", ReplicaID: "r2", Engine: "ollama"},
}

func TestAliasGoesToTheFirstModelThatAnswers(t *testing.T) {
	cfg := leading(Config{Routes: bigAndSmall}, map[string][]string{
		"fast": {"absent", "big", "small"}, "small": {"big"}, "nowhere": {"absent", "away"},
	})
	t.Run("first", func(t *testing.T) {
		r := newRig(t, cfg, map[string]http.Handler{"n1": saysModel, "n2": saysModel})
		for _, path := range []string{"/v1/chat/completions", "/v1/embeddings", "/v1/completions"} {
			res := r.do(t, "POST", path, `{"model":"fast","extra":1}`)
			if body := readAll(t, res); body != `{"engine asked for":"big"}` || res.Header.Get("X-Orchion-Model") != "big" {
				t.Errorf("%s: %s %v", path, body, res.Header)
			}
			if reason := res.Header.Get("X-Orchion-Route-Reason"); !strings.HasPrefix(reason, "for the alias fast: ") {
				t.Errorf("%s: the reason is %q", path, reason)
			}
		}
		// Ollama's clients say :latest for a name without a tag.
		if body := readAll(t, r.chat(t, `{"model":"fast:latest"}`)); body != `{"engine asked for":"big"}` {
			t.Errorf("with its tag: %s", body)
		}
	})
	t.Run("fallback", func(t *testing.T) {
		r := newRig(t, cfg, map[string]http.Handler{"n2": saysModel})
		res := r.chat(t, `{"model":"fast"}`)
		if body := readAll(t, res); body != `{"engine asked for":"small"}` || res.Header.Get("X-Orchion-Node") != "n2" {
			t.Errorf("while n1 is away: %s %s %v", res.Status, body, res.Header)
		}
	})
	t.Run("all away", func(t *testing.T) {
		r := newRig(t, cfg, nil)
		res := r.chat(t, `{"model":"fast"}`)
		if body := readAll(t, res); res.StatusCode/100 != 5 || !strings.Contains(body, "n2") {
			t.Errorf("with both nodes away: %s %s, want what the last one tried says", res.Status, body)
		}
	})
	t.Run("model of the name", func(t *testing.T) {
		r := newRig(t, cfg, map[string]http.Handler{"n1": saysModel, "n2": saysModel})
		res := r.chat(t, `{"model":"small"}`)
		if body := readAll(t, res); body != `{"engine asked for":"small"}` || strings.Contains(res.Header.Get("X-Orchion-Route-Reason"), "alias") {
			t.Errorf("a model of the alias's name: %s %v", body, res.Header)
		}
	})
	t.Run("nothing deployed", func(t *testing.T) {
		r := newRig(t, cfg, nil)
		res := r.chat(t, `{"model":"nowhere"}`)
		want := `the alias \"nowhere\" leads to \"absent\", \"away\", and none of them is deployed`
		if body := readAll(t, res); res.StatusCode != http.StatusNotFound || !strings.Contains(body, want) {
			t.Errorf("%s %s\nwant 404 with %s", res.Status, body, want)
		}
	})
}

func TestAliasesAreListedAsModels(t *testing.T) {
	r := newRig(t, leading(Config{Routes: bigAndSmall}, map[string][]string{
		"fast": {"absent", "small"}, "small": {"big"}, "nowhere": {"absent"},
	}), nil)
	var list struct {
		Data []struct {
			ID      string
			Nodes   []string
			LeadsTo []string `json:"leads_to"`
		}
	}
	if err := json.Unmarshal([]byte(readAll(t, r.do(t, "GET", "/v1/models", ""))), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list.Data {
		got = append(got, strings.Join(append([]string{m.ID, strings.Join(m.Nodes, ",")}, m.LeadsTo...), " "))
	}
	if want := []string{"big n1", "fast n2 absent small", "small n2"}; !slices.Equal(got, want) {
		t.Errorf("the list has %q, want %q", got, want)
	}
	if body := readAll(t, r.do(t, "GET", "/v1/models/fast", "")); !strings.Contains(body, `"leads_to":["absent","small"]`) {
		t.Errorf("the alias alone is %s", body)
	}
	if res := r.do(t, "GET", "/v1/models/nowhere", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("an alias that leads to nothing answers %s", res.Status)
	}
	var tags struct{ Models []struct{ Name string } }
	if err := json.Unmarshal([]byte(readAll(t, r.do(t, "GET", "/ollama/api/tags", ""))), &tags); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tags.Models, func(m struct{ Name string }) bool { return strings.HasPrefix(m.Name, "fast") }) {
		t.Errorf("Ollama's list has no alias: %+v", tags)
	}
}

func TestAliasWaitsForItsFirstModelToCome(t *testing.T) {
	m := newColdModel()
	r := newRig(t, leading(m.config(), map[string][]string{"fast": {"absent", "m"}}), map[string]http.Handler{"n1": saysModel})
	type answer struct{ status, body, model string }
	answers := make(chan answer)
	go func() {
		res := r.chat(t, `{"model":"fast"}`)
		body, err := io.ReadAll(res.Body)
		if err != nil {
			body = []byte(err.Error())
		}
		answers <- answer{res.Status, string(body), res.Header.Get(headerModel)}
	}()
	for r.gateway.waiting.Load() < 1 {
		runtime.Gosched()
	}
	m.change(func() { m.routes = oneRoute })
	if got, want := <-answers, (answer{"200 OK", `{"engine asked for":"m"}`, "m"}); got != want {
		t.Errorf("it answered %+v, want %+v", got, want)
	}
}
