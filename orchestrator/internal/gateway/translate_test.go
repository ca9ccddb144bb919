package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// loud is a translation that shouts. Its streams must end with an event "end".
type loud struct{ ended bool }

func (*loud) document(body []byte) ([]byte, error) {
	if !json.Valid(body) {
		return nil, errors.New("it is not JSON")
	}
	return []byte(strings.ToUpper(string(body))), nil
}

func (*loud) streamType() string { return "text/loud" }

func (l *loud) event(dst, data []byte) ([]byte, error) {
	switch string(data) {
	case "end":
		l.ended = true
		return dst, nil
	case "nonsense":
		return dst, errors.New("nonsense")
	}
	return fmt.Appendf(dst, "<%s>", strings.ToUpper(string(data))), nil
}

func (l *loud) end(dst []byte) ([]byte, error) {
	if !l.ended {
		return dst, io.ErrUnexpectedEOF
	}
	return append(dst, "THE END"...), nil
}

type loudRequest struct{ request }

func (r loudRequest) prepare(route model.Route) (prepared, *apiError) {
	p, failure := r.request.prepare(route)
	p.answer = &loud{}
	return p, failure
}

func loudGateway(g *Gateway) {
	g.handleCalls(g.mux, &endpoint{
		path: "/v1/loud", dialect: openAI{},
		understand: func(path string, r *http.Request, body []byte) (request, error) {
			inner, err := understandJSON(path, r, body)
			return loudRequest{inner}, err
		},
	})
}

func TestTranslation(t *testing.T) {
	const broke = `data: {"error":{"message":"the engine on node n1 broke off its answer","type":"server_error","param":null,"code":"engine_failed"}}` + "\n\n"
	cases := []struct {
		name, contentType, answer string
		status                    int
		wantType, want            string
	}{
		{"document", "application/json", `{"a":"b"}`, 200, "application/json", `{"A":"B"}`},
		{"not a document", "application/json", `{"a":`, 502, "application/json", `{"error":{"message":"the engine on node n1 answered what cannot be understood: it is not JSON","type":"server_error","param":null,"code":"engine_failed"}}`},
		{"stream", "text/event-stream", "data: a\n\nevent: x\ndata:b\ndata: c\n\n: comment\n\ndata: end\n\n", 200, "text/loud", "<A><B\nC>THE END"},
		{"stream with CRLF", "text/event-stream", "data: a\r\n\r\ndata: end\r\n\r\n", 200, "text/loud", "<A>THE END"},
		{"stream without its end", "text/event-stream", "data: a\n\n", 200, "text/loud", "<A>" + broke},
		{"stream cut within an event", "text/event-stream", "data: a\n\ndata: en", 200, "text/loud", "<A>" + broke},
		{"stream with nonsense", "text/event-stream", "data: a\n\ndata: nonsense\n\ndata: end\n\n", 200, "text/loud", "<A>" + broke},
		{"empty stream", "text/event-stream", "", 200, "text/loud", broke},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				io.WriteString(w, c.answer)
			})})
			loudGateway(r.gateway)
			res := r.do(t, http.MethodPost, "/v1/loud", `{"model":"m"}`)
			body := readAll(t, res)
			if res.StatusCode != c.status || res.Header.Get("Content-Type") != c.wantType || body != c.want {
				t.Errorf("answered %d %s %q, want %d %s %q", res.StatusCode, res.Header.Get("Content-Type"), body, c.status, c.wantType, c.want)
			}
		})
	}
}

// However a stream is cut into reads, its events are the same.
func TestEventReader(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	stream := "data: one\n\ndata: two\ndata: lines\n\nid: 7\nretry: 1\n\ndata: " + long + "\n\ndata:\n\n"
	want := []string{"one", "two\nlines", long, ""}
	for name, source := range map[string]io.Reader{
		"at once": strings.NewReader(stream), "byte by byte": iotest.OneByteReader(strings.NewReader(stream)),
		"halves": iotest.HalfReader(strings.NewReader(stream)), "end with the last bytes": iotest.DataErrReader(strings.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			reader := newEventReader(source)
			for _, w := range want {
				if got, err := reader.next(); err != nil || string(got) != w {
					t.Fatalf("event %.20q, %v, want %.20q", got, err, w)
				}
			}
			if _, err := reader.next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
	for name, source := range map[string]string{"without an end of line": "data: x", "without an empty line": "data: x\n"} {
		if _, err := newEventReader(strings.NewReader(source)).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want io.ErrUnexpectedEOF", name, err)
		}
	}
	endless := io.MultiReader(strings.NewReader("data: "), neverEnding{})
	if _, err := newEventReader(endless).next(); !errors.Is(err, errEventTooLarge) {
		t.Errorf("an endless event: %v", err)
	}
	broken := io.MultiReader(strings.NewReader("data: x\n\n"), iotest.ErrReader(errors.New("reset")))
	reader := newEventReader(broken)
	if got, err := reader.next(); string(got) != "x" || err != nil {
		t.Errorf("before the break: %q, %v", got, err)
	}
	if _, err := reader.next(); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("at the break: %v", err)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
