package ollama

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// A picture of one pixel.
const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

var requests = []struct {
	name, path, body string
	wantPath, want   string // body, or the error
}{
	{"chat", Chat, `{"model":"m","messages":[{"role":"User","content":"hi"}]}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`},
	{"not streamed", Chat, `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}],"keep_alive":"5m"}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"}],"stream":false}`},
	{"options", Chat, `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}],"options":{"temperature":0,"top_p":0.9,"seed":42.0,"num_predict":7,"stop":["a"],"presence_penalty":1,"frequency_penalty":-1,"num_ctx":4096,"top_k":5}}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"}],"stream":false,"temperature":0,"top_p":0.9,"seed":42,"stop":["a"],"max_tokens":7,"presence_penalty":1,"frequency_penalty":-1}`},
	{"no limit", Chat, `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}],"options":{"num_predict":-1}}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"}],"stream":false}`},
	{"JSON", Chat, `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}],"format":"json"}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"}],"stream":false,"response_format":{"type":"json_object"}}`},
	{"schema", Chat, `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}],"format":{"type":"object"}}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"}],"stream":false,"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"},"strict":true}}}`},
	{"tools", Chat, `{"model":"m","stream":false,"tools":[{"type":"function","function":{"name":"f"}}],"messages":[{"role":"user","content":"hi"},` +
		`{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}},{"function":{"name":"g","arguments":{}}}]},` +
		`{"role":"tool","content":"2","tool_name":"g"},{"role":"tool","content":"1"},{"role":"tool","content":"0"}]}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":"hi"},` +
			`{"role":"assistant","content":"","tool_calls":[{"id":"call_0","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"call_1","type":"function","function":{"name":"g","arguments":"{}"}}]},` +
			`{"role":"tool","content":"2","tool_call_id":"call_1"},{"role":"tool","content":"1","tool_call_id":"call_0"},{"role":"tool","content":"0","tool_call_id":"call_2"}],` +
			`"stream":false,"tools":[{"type":"function","function":{"name":"f"}}]}`},
	{"image", Chat, `{"model":"m","stream":false,"messages":[{"role":"user","content":"what?","images":["` + png + `"]}]}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + png + `"}}]}],"stream":false}`},
	{"generate", Generate, `{"model":"m","prompt":"hi","system":"be brief","stream":false,"suffix":"","template":""}`,
		"/v1/chat/completions", `{"model":"served","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}],"stream":false}`},
	{"raw", Generate, `{"model":"m","prompt":"hi","raw":true,"stream":false}`, "/v1/completions", `{"model":"served","prompt":"hi","stream":false}`},
	{"suffix", Generate, `{"model":"m","prompt":"a","suffix":"b","stream":false}`, "/v1/completions", `{"model":"served","prompt":"a","suffix":"b","stream":false}`},
	{"embed", Embed, `{"model":"m","input":"a","truncate":true}`, "/v1/embeddings", `{"model":"served","input":"a","encoding_format":"float"}`},
	{"embed many", Embed, `{"model":"m","input":["a","b"],"dimensions":8}`, "/v1/embeddings", `{"model":"served","input":["a","b"],"dimensions":8,"encoding_format":"float"}`},
	{"embeddings", Embeddings, `{"model":"m","prompt":"a"}`, "/v1/embeddings", `{"model":"served","input":"a","encoding_format":"float"}`},

	{"no messages", Chat, `{"model":"m"}`, "", "messages must not be empty"},
	{"role", Chat, `{"model":"m","messages":[{"role":"boss"}]}`, "", `messages[0].role is "boss"; allowed are system, user, assistant and tool`},
	{"type", Chat, `{"model":"m","messages":[{"role":"user","content":7}]}`, "", "messages.content must not be a number here"},
	{"option's type", Chat, `{"model":"m","options":{"temperature":"hot"}}`, "", "options.temperature must not be a string here"},
	{"half a seed", Chat, `{"model":"m","options":{"seed":0.5}}`, "", "options.seed must be a whole number"},
	{"huge limit", Chat, `{"model":"m","options":{"num_predict":1e300}}`, "", "options.num_predict must be a whole number"},
	{"format", Chat, `{"model":"m","format":"xml"}`, "", `format must be "json" or a JSON schema`},
	{"arguments", Chat, `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}`, "", "messages[0].tool_calls[0].function.arguments must be an object"},
	{"no base64", Chat, `{"model":"m","messages":[{"role":"user","images":["!"]}]}`, "", "messages[0].images[0] is not base64: illegal base64 data at input byte 0"},
	{"no picture", Generate, `{"model":"m","prompt":"x","images":["aGVsbG8="]}`, "", "images[0] is not a picture that can be recognised (JPEG, PNG, GIF, WebP or BMP)"},
	{"tools", Chat, `{"model":"m","tools":{},"messages":[{"role":"user"}]}`, "", "tools must be a list"},
	{"context", Generate, `{"model":"m","prompt":"x","context":[1]}`, "", "context holds tokens of Ollama's, which the engine of this model cannot read; use /api/chat"},
	{"template", Generate, `{"model":"m","prompt":"x","template":"y"}`, "", "template cannot be changed with the engine of this model; use raw with the whole prompt"},
	{"raw with an image", Generate, `{"model":"m","prompt":"x","raw":true,"images":["` + png + `"]}`, "", "images do not go with raw or suffix with the engine of this model"},
	{"raw with a system", Generate, `{"model":"m","prompt":"x","raw":true,"system":"s"}`, "", "system does not go with raw or suffix"},
	{"no prompt", Generate, `{"model":"m"}`, "", "prompt must not be empty"},
	{"no input", Embed, `{"model":"m","input":[]}`, "", "input must be a text or a list of texts, not empty"},
	{"input", Embed, `{"model":"m","input":[1]}`, "", "input must be a text or a list of texts, not empty"},
	{"no embeddings", Embeddings, `{"model":"m"}`, "", "prompt must not be empty"},
	{"no JSON", Chat, `{`, "", "the body is not a request: unexpected end of JSON input"},
	{"elsewhere", "/api/tags", `{}`, "", "/api/tags cannot be translated"},
}

func TestTranslate(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			got, err := Translate(c.path, []byte(c.body), Target{Model: "served"})
			if c.wantPath == "" {
				if err == nil || err.Error() != c.want {
					t.Errorf("error %v, want %s", err, c.want)
				}
				return
			}
			if err != nil || got.Path != c.wantPath || string(got.Body) != c.want {
				t.Errorf("%s, %v\n%s\nwant %s\n%s", got.Path, err, got.Body, c.wantPath, c.want)
			}
		})
	}
}

// Engines other than vLLM may refuse what OpenAI does not have.
func TestSampling(t *testing.T) {
	body := []byte(`{"prompt":"x","raw":true,"stream":false,"options":{"top_k":5,"min_p":0.1,"repeat_penalty":1.1}}`)
	for extended, want := range map[bool]string{
		false: `{"model":"m","prompt":"x","stream":false}`,
		true:  `{"model":"m","prompt":"x","stream":false,"top_k":5,"min_p":0.1,"repetition_penalty":1.1}`,
	} {
		if got, err := Translate(Generate, body, Target{Model: "m", Extended: extended}); err != nil || string(got.Body) != want {
			t.Errorf("extended %v: %s, %v, want %s", extended, got.Body, err, want)
		}
	}
}

// clock goes on by a second at each look, from 1970 on.
func clock() func() time.Time {
	now := time.Unix(-1, 0)
	return func() time.Time { now = now.Add(time.Second); return now }
}

func TestDocument(t *testing.T) {
	for name, c := range map[string]struct{ path, body, want string }{
		"chat": {Chat, `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi <b>"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`,
			`{"model":"m","created_at":"1970-01-01T00:00:01Z","message":{"role":"assistant","content":"Hi \u003cb\u003e"},"done_reason":"length","done":true,"total_duration":2000000000,"prompt_eval_count":3,"eval_count":4,"eval_duration":2000000000}`},
		"tools": {Chat, `{"choices":[{"message":{"content":null,"reasoning_content":"hm","tool_calls":[{"id":"x","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"y","function":{"name":"f","arguments":""}}]},"finish_reason":"tool_calls"}]}`,
			`{"model":"m","created_at":"1970-01-01T00:00:02Z","message":{"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}},{"function":{"name":"f","arguments":{}}}]},"done_reason":"stop","done":true,"total_duration":3000000000,"prompt_eval_duration":1000000000,"eval_duration":2000000000}`},
		"generate": {Generate, `{"choices":[{"text":"Hi","finish_reason":"stop"}]}`,
			`{"model":"m","created_at":"1970-01-01T00:00:01Z","response":"Hi","done":true,"done_reason":"stop","total_duration":2000000000,"eval_duration":2000000000}`},
		"embed": {Embed, `{"data":[{"index":1,"embedding":[3,4.50]},{"index":0,"embedding":[1e-3]}],"usage":{"prompt_tokens":7}}`,
			`{"model":"m","embeddings":[[1e-3],[3,4.50]],"total_duration":1000000000,"prompt_eval_count":7}`},
		"embeddings":    {Embeddings, `{"data":[{"embedding":[1]}]}`, `{"embedding":[1]}`},
		"no choices":    {Chat, `{}`, "it has no choices"},
		"no data":       {Embed, `{}`, "it has no data"},
		"no vector":     {Embed, `{"data":[{"embedding":"AAAA"}]}`, "an embedding is not a list of numbers"},
		"no JSON":       {Chat, `<html>`, "read the answer: invalid character '<' looking for beginning of value"},
		"odd arguments": {Chat, `{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}}]}`, `read the arguments of a call of "f": unexpected end of JSON input`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newAnswer(c.path, "m", clock()).Document([]byte(c.body))
			if err != nil {
				got = []byte(err.Error())
			}
			if string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// stream runs events, one a line, through a new answer.
func stream(path, events string) (string, error) {
	a := newAnswer(path, "m", func() time.Time { return time.Unix(0, 0) })
	var out []byte
	for event := range strings.Lines(events) {
		var err error
		if out, err = a.Event(out, []byte(strings.TrimSuffix(event, "\n"))); err != nil {
			return string(out), err
		}
	}
	out, err := a.End(out)
	return strings.ReplaceAll(string(out), `"created_at":"1970-01-01T00:00:00Z",`, ""), err
}

func TestStream(t *testing.T) {
	const hi = `{"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}` + "\n"
	const stop = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n"
	const counted = `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}` + "\n"
	const hiLine = `{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}` + "\n"
	const empty = `{"model":"m","message":{"role":"assistant","content":""},"done_reason":"stop","done":true`
	for name, c := range map[string]struct {
		path, events, want string
		err                error
	}{
		"chat":           {Chat, hi + hi + stop + counted + "[DONE]", hiLine + hiLine + empty + `,"prompt_eval_count":3,"eval_count":4}` + "\n", nil},
		"without counts": {Chat, hi + stop, hiLine + empty + "}\n", nil},
		"other choices":  {Chat, `{"choices":[{"index":1,"delta":{"content":"x"}}]}` + "\n[DONE]", empty + "}\n", nil},
		"thinking": {Chat, `{"choices":[{"delta":{"reasoning_content":"hm"}}]}` + "\n[DONE]",
			`{"model":"m","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}` + "\n" + empty + "}\n", nil},
		"tools": {Chat, `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}` + "\n" +
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}` + "\n" +
			`{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"g"}},{"index":0,"function":{"arguments":":1}"}}]}}]}` + "\n" +
			`{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}`,
			`{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}},{"function":{"name":"g","arguments":{}}}]},"done":false}` + "\n" + empty + "}\n", nil},
		"generate": {Generate, `{"choices":[{"text":"Hi"}]}` + "\n[DONE]",
			`{"model":"m","response":"Hi","done":false}` + "\n" + `{"model":"m","response":"","done":true,"done_reason":"stop"}` + "\n", nil},
		"cut":          {Chat, hi, "", io.ErrUnexpectedEOF},
		"error":        {Chat, hi + `{"error":{"message":"out of memory","code":500}}` + "\n" + hi, hiLine + `{"error":"out of memory"}` + "\n", nil},
		"error's text": {Chat, `{"error":"oops"}`, `{"error":"oops"}` + "\n", nil},
		"error's code": {Chat, `{"error":{"code":7}}`, `{"error":"the engine failed: {\"code\":7}"}` + "\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := stream(c.path, c.events)
			if !errors.Is(err, c.err) || (c.err == nil && got != c.want) {
				t.Errorf("got %v\n%s\nwant %v\n%s", err, got, c.err, c.want)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	for body, want := range map[string][2]bool{
		`{"model":"m"}`: {true, false},
		`{"model":"m","prompt":"","keep_alive":0}`:        {true, true},
		`{"model":"m","keep_alive":"0s"}`:                 {true, true},
		`{"model":"m","keep_alive":"5m"}`:                 {true, false},
		`{"model":"m","keep_alive":-1}`:                   {true, false},
		`{"model":"m","keep_alive":null}`:                 {true, false},
		`{"model":"m","prompt":"x","keep_alive":0}`:       {false, false},
		`{"model":"m","prompt":7}`:                        {false, false},
		`{"model":"m","keep_alive":0.4,"suffix":"never"}`: {true, true},
	} {
		if idle, unload := Idle(Generate, []byte(body)); [2]bool{idle, unload} != want {
			t.Errorf("%s is idle %v, unloads %v, want %v", body, idle, unload, want)
		}
	}
	if idle, _ := Idle(Embed, []byte(`{}`)); idle {
		t.Error("a request for embeddings is never idle")
	}
	var got map[string]any
	if err := json.Unmarshal(Idled(Chat, "m", "unload"), &got); err != nil || got["done"] != true || got["done_reason"] != "unload" {
		t.Errorf("it is answered with %v, %v", got, err)
	}
}

// Whatever comes in, what goes out is JSON.
func FuzzTranslate(f *testing.F) {
	for _, c := range requests {
		f.Add(c.path, []byte(c.body))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		Idle(path, body)
		got, err := Translate(path, body, Target{Model: "m", Extended: true})
		if err == nil && !json.Valid(got.Body) {
			t.Fatalf("%s is no JSON", got.Body)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(Chat, `{"choices":[{"delta":{"content":"x","tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}`+"\n[DONE]")
	f.Add(Generate, `{"choices":[{"text":"x"}],"usage":{"prompt_tokens":1}}`)
	f.Add(Embed, `{"data":[{"embedding":[1]}]}`)
	f.Add(Chat, `{"error":{"message":"x"}}`)
	f.Fuzz(func(t *testing.T, path, events string) {
		if document, err := newAnswer(path, "m", time.Now).Document([]byte(events)); err == nil && !json.Valid(document) {
			t.Fatalf("%s is no JSON", document)
		}
		a := newAnswer(path, "m", time.Now)
		var out []byte
		var err error
		for event := range strings.Lines(events) {
			if out, err = a.Event(out, []byte(event)); err != nil {
				break
			}
		}
		if err == nil {
			out, _ = a.End(out) // what was said before is whole in any case
		}
		for line := range bytes.Lines(out) {
			if !json.Valid(line) || line[len(line)-1] != '\n' {
				t.Fatalf("%q is no line of JSON", line)
			}
		}
	})
}
