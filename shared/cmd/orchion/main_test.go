package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"orchion": main})
}

// TestScripts runs testdata/*.txtar against a scripted orchestrator. A file
// named routes holds what it answers: a line "METHOD /path STATUS" followed by
// the body up to the next blank line; the same route again is the next answer,
// the last one stays. The command requests prints what it was asked.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			data, err := os.ReadFile(env.WorkDir + "/routes")
			if err != nil {
				return err
			}
			far := &scripted{routes: parseRoutes(string(data))}
			server := httptest.NewServer(far)
			env.Defer(server.Close)
			env.Setenv("ORCHION_URL", server.URL)
			env.Values["far"] = far
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// zeros FILE MIB makes a file of so many MiB.
			"zeros": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), make([]byte, n<<20), 0o600))
			},
			"requests": func(ts *testscript.TestScript, _ bool, _ []string) {
				far, _ := ts.Value("far").(*scripted)
				far.mu.Lock()
				defer far.mu.Unlock()
				_, _ = fmt.Fprint(ts.Stdout(), strings.Join(far.asked, "\n"), "\n")
				far.asked = nil
			},
		},
	})
}

type answer struct {
	status int
	body   string
}

func parseRoutes(text string) map[string][]answer {
	routes := map[string][]answer{}
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		head, body, _ := strings.Cut(block, "\n")
		var method, path string
		var status int
		if _, err := fmt.Sscanf(head, "%s %s %d", &method, &path, &status); err != nil {
			panic(fmt.Sprintf("routes: %q: %v", head, err))
		}
		routes[method+" "+path] = append(routes[method+" "+path], answer{status, body})
	}
	return routes
}

// scripted is the far side: an orchestrator that answers from a script.
type scripted struct {
	mu     sync.Mutex // guards what follows
	routes map[string][]answer
	asked  []string
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := new(bytes.Buffer)
	_, _ = fmt.Fprintf(asked, "%s %s", r.Method, r.URL.RequestURI())
	if body, err := io.ReadAll(r.Body); err == nil && len(body) > 0 {
		asked.WriteByte(' ')
		// protojson varies its white space on purpose.
		if r.Header.Get("Content-Type") != "application/json" {
			_, _ = fmt.Fprintf(asked, "(%d bytes)", len(body))
		} else if err := json.Compact(asked, body); err != nil {
			asked.WriteString(err.Error())
		}
	}
	s.mu.Lock()
	s.asked = append(s.asked, asked.String())
	key := r.Method + " " + r.URL.Path
	answers := s.routes[key]
	if len(answers) > 1 {
		s.routes[key] = answers[1:]
	}
	s.mu.Unlock()
	if len(answers) == 0 {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"code":5,"message":"no route %s","details":[]}`, key)
		return
	}
	w.WriteHeader(answers[0].status)
	_, _ = fmt.Fprint(w, answers[0].body)
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "512": 512, "512B": 512, "1KiB": 1024, "512MiB": 512 << 20, "1.5 GiB": 3 << 29, "2GB": 2e9, "1T": 1e12,
	} {
		if got, err := parseSize("memory", text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"much", "-1", "1XB", "GiB", "1 2"} {
		if _, err := parseSize("memory", text); err == nil || !strings.Contains(err.Error(), "--memory is") {
			t.Errorf("parseSize(%q) = %v, want an error that names --memory", text, err)
		}
	}
}

func TestWithoutControls(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext":            "plain\ttext",
		"\x1b[31mred\x1b[0m":     "\x1b[31mred\x1b[0m",
		"\x1b[2Jgone":            "[2Jgone",
		"\x1b]0;title\x07x":      "]0;titlex",
		"back\x08space\u009b31m": "backspace31m",
		"grüße 日本":               "grüße 日本",
	} {
		if got := withoutControls(text); got != want {
			t.Errorf("withoutControls(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestReadChat(t *testing.T) {
	for name, test := range map[string]struct{ stream, text, err string }{
		"whole":      {"data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\ndata: [DONE]\n\n", "Hello\n", ""},
		"error":      {"data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"error\":{\"message\":\"engine gone\"}}\n\n", "Hel", "the model broke off: engine gone"},
		"broken off": {"data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n", "Hel", "the answer broke off: unexpected EOF"},
		"no json":    {"data: <html>\n", "", "the model's stream"},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			err := readChat(strings.NewReader(test.stream), func(s string) error { text.WriteString(s); return nil })
			if text.String() != test.text {
				t.Errorf("text %q, want %q", text.String(), test.text)
			}
			if (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}
