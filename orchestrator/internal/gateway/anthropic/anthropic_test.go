package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// same compares JSON.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v in what is wanted", what, err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

func TestChat(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, request, want string
		extended            bool
	}{
		{name: "least", request: `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
			want: `{"model":"served","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`},
		{name: "everything", request: `{"model":"m","max_tokens":5,"system":[{"type":"text","text":"be","cache_control":{"type":"ephemeral"}},{"type":"text","text":"kind"}],
			"temperature":0.5,"top_p":0.9,"top_k":4,"stop_sequences":["X"],"stream":true,"metadata":{"user_id":"u"},"thinking":{"type":"enabled","budget_tokens":1024},
			"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`,
			want: `{"model":"served","max_tokens":5,"temperature":0.5,"top_p":0.9,"stop":["X"],"user":"u","stream":true,"stream_options":{"include_usage":true},
			"messages":[{"role":"system","content":"be\n\nkind"},{"role":"user","content":"a\n\nb"}]}`},
		{name: "vLLM knows top_k", extended: true, request: `{"model":"m","max_tokens":5,"top_k":4,"messages":[{"role":"user","content":"hi"}]}`,
			want: `{"model":"served","max_tokens":5,"top_k":4,"messages":[{"role":"user","content":"hi"}]}`},
		{name: "images", request: `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[
			{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"image","source":{"type":"url","url":"https://example.org/a.png"}},{"type":"text","text":"what?"}]}]}`,
			want: `{"model":"served","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
			{"type":"image_url","image_url":{"url":"https://example.org/a.png"}},{"type":"text","text":"what?"}]}]}`},
		{name: "a document of text", request: `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"words"}}]}]}`,
			want: `{"model":"served","max_tokens":5,"messages":[{"role":"user","content":"T\n\nwords"}]}`},
		{name: "tools", request: `{"model":"m","max_tokens":5,"tools":[{"name":"f","description":"d","input_schema":{"type":"object"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},
			"messages":[{"role":"user","content":"go"},
			{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"I call"},{"type":"tool_use","id":"t1","name":"f","input":{"x":1}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"broken"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},{"type":"text","text":"and now?"}]}]}`,
			want: `{"model":"served","max_tokens":5,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],"tool_choice":"required","parallel_tool_calls":false,
			"messages":[{"role":"user","content":"go"},{"role":"assistant","content":"I call","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
			{"role":"tool","tool_call_id":"t1","content":"Error: broken"},
			{"role":"user","content":[{"type":"text","text":"The picture that the tool call t1 gave:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"and now?"}]}]}`},
		{name: "one tool, and only its result", request: `{"model":"m","max_tokens":5,"tools":[{"type":"custom","name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"},
			"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"42"}]}]}`,
			want: `{"model":"served","max_tokens":5,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":{"type":"function","function":{"name":"f"}},
			"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t1","content":"42"}]}`},
	}
	for _, c := range cases {
		r, err := Parse([]byte(c.request), false)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := r.Chat(Target{Model: "served", Extended: c.extended})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		same(t, c.name, string(got), c.want)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	message := func(content string) string {
		return `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":` + content + `}]}`
	}
	for request, want := range map[string]string{
		`{"model":"m","messages":[{"role":"user","content":"x"}]}`:                                              "max_tokens is required",
		`{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}`:                               "max_tokens is 0, want 1 or more",
		`{"model":"m","max_tokens":"1","messages":[]}`:                                                          "max_tokens is string, want int64",
		`{"model":"m","max_tokens":1,"messages":[]}`:                                                            "messages must have at least one message",
		`{"model":"m","max_tokens":1,"messages":[{"role":"system","content":"x"}]}`:                             `messages.0.role is "system", want user or assistant; what is for the system stands in the field system`,
		`{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}`:                                             "messages.0.content is required",
		`{"model":"m","max_tokens":1,"system":5,"messages":[{"role":"user","content":"x"}]}`:                    "system must be a string or a list of blocks",
		message(`[{"type":"video"}]`):                                                                           `messages.0.content.0.type is "video", which is not supported here`,
		message(`[{"type":"image"}]`):                                                                           "messages.0.content.0.source is required",
		message(`[{"type":"image","source":{"type":"file"}}]`):                                                  `messages.0.content.0.source.type is "file", want base64 or url`,
		message(`[{"type":"image","source":{"type":"base64","media_type":"image/bmp","data":"A"}}]`):            `messages.0.content.0.source.media_type is "image/bmp", want image/jpeg, image/png, image/gif or image/webp`,
		message(`[{"type":"document","source":{"type":"base64"}}]`):                                             "messages.0.content.0.source.type must be text: engines read no other documents",
		message(`[{"type":"tool_result"}]`):                                                                     "messages.0.content.0.tool_use_id is required",
		message(`[{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_use"}]}]`):                   `messages.0.content.0.content.0.type is "tool_use", which is not supported here`,
		`{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use"}]}]}`:        "messages.0.content.0 needs an id and a name",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f"}]}`:        "tools.0.input_schema must be an object",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"type":"bash_1"}]}`:   `tools.0.type is "bash_1", which only Anthropic's own servers run; want a tool with an input_schema`,
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"all"}}`:  `tool_choice.type is "all", want auto, any, tool or none`,
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"tool"}}`: "tool_choice.name is required with the type tool",
	} {
		_, err := Parse([]byte(request), false)
		var field *FieldError
		if !errors.As(err, &field) || err.Error() != want {
			t.Errorf("%s: %v, want %s", request, err, want)
		}
	}
	if _, err := Parse([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}]}`), true); err != nil {
		t.Errorf("to count tokens: %v", err)
	}
}

func ask(t *testing.T, more string) *Request {
	t.Helper()
	r, err := Parse([]byte(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]`+more+`}`), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDocument(t *testing.T) {
	t.Parallel()
	answer := func(content, stop, sequence, usage string) string {
		return fmt.Sprintf(`{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[%s],"stop_reason":%q,"stop_sequence":%s,"usage":%s}`, content, stop, sequence, usage)
	}
	const none = `{"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0}`
	const text = `{"type":"text","text":"hi"}`
	for _, c := range []struct{ name, body, want string }{
		{"text", `{"choices":[{"message":{"content":"hi","reasoning_content":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}`,
			answer(text, "end_turn", "null", `{"input_tokens":4,"output_tokens":2,"cache_read_input_tokens":3}`)},
		{"cut", `{"choices":[{"message":{"content":"hi"},"finish_reason":"length"}]}`, answer(text, "max_tokens", "null", none)},
		{"stopped", `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop","stop_reason":"X"}]}`, answer(text, "stop_sequence", `"X"`, none)},
		{"stopped by a token", `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop","stop_reason":128009}]}`, answer(text, "end_turn", "null", none)},
		{"refused", `{"choices":[{"message":{"refusal":"hi"},"finish_reason":"content_filter"}]}`, answer(text, "refusal", "null", none)},
		{"nothing", `{"choices":[{"message":{},"finish_reason":"stop"}]}`, answer("", "end_turn", "null", none)},
		{"tools", `{"choices":[{"message":{"content":"hi","tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"x\":1}"}},{"function":{"name":"g","arguments":""}}]},"finish_reason":"stop"}]}`,
			answer(text+`,{"type":"tool_use","id":"c1","name":"f","input":{"x":1}},{"type":"tool_use","id":"toolu_1_1","name":"g","input":{}}`, "tool_use", "null", none)},
	} {
		got, err := NewAnswer(ask(t, ""), "1").Document([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		same(t, c.name, string(got), c.want)
	}
	thinking := NewAnswer(ask(t, `,"thinking":{"type":"enabled"}`), "1")
	got, err := thinking.Document([]byte(`{"choices":[{"message":{"content":"hi","reasoning":"hm","reasoning_content":"hm"},"finish_reason":"stop"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "thinking", string(got), answer(`{"type":"thinking","thinking":"hm","signature":""},`+text, "end_turn", "null", none))
	for _, body := range []string{"<html>", `{}`, `{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}}]}`} {
		if got, err := NewAnswer(ask(t, ""), "1").Document([]byte(body)); err == nil {
			t.Errorf("%s became %s", body, got)
		}
	}
}

// play gives what a stream becomes.
func play(a *Answer, events ...string) (string, error) {
	var out []byte
	var err error
	for _, e := range events {
		if out, err = a.Event(out, []byte(e)); err != nil {
			return string(out), err
		}
	}
	out, err = a.End(out)
	return string(out), err
}

// told lists a stream's events, without the message's beginning, which is always alike.
func told(stream string) string {
	var lines []string
	for _, event := range strings.Split(strings.TrimSpace(stream), "\n\n") {
		_, data, _ := strings.Cut(event, "\ndata: ")
		var fields map[string]any
		if json.Unmarshal([]byte(data), &fields) != nil || !strings.HasPrefix(event, fmt.Sprintf("event: %s\n", fields["type"])) {
			return "no event: " + event
		}
		kind := fields["type"]
		if kind == "message_start" {
			data = ""
		}
		delete(fields, "type")
		if data != "" {
			rest, err := json.Marshal(fields)
			if err != nil {
				return err.Error()
			}
			data = " " + string(rest)
		}
		lines = append(lines, fmt.Sprint(kind)+data)
	}
	return strings.Join(lines, "\n")
}

func TestStream(t *testing.T) {
	t.Parallel()
	const begin = "message_start\nping {}\n"
	delta := func(fields string) string { return `{"choices":[{"index":0,"delta":{` + fields + `}}]}` }
	finish := func(reason string) string {
		return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
	}
	const usage = `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}`
	end := func(reason, usage string) string {
		return `message_delta {"delta":{"stop_reason":"` + reason + `","stop_sequence":null},"usage":` + usage + "}\nmessage_stop {}"
	}
	const five = `{"cache_read_input_tokens":0,"input_tokens":5,"output_tokens":2}`
	const none = `{"cache_read_input_tokens":0,"input_tokens":0,"output_tokens":0}`
	for _, c := range []struct {
		name   string
		events []string
		want   string
	}{
		{"text", []string{delta(`"role":"assistant","content":""`), delta(`"content":"a"`), delta(`"content":"b"`), finish("stop"), usage, "[DONE]", "ignored"},
			begin + `content_block_start {"content_block":{"text":"","type":"text"},"index":0}` + "\n" +
				`content_block_delta {"delta":{"text":"a","type":"text_delta"},"index":0}` + "\n" +
				`content_block_delta {"delta":{"text":"b","type":"text_delta"},"index":0}` + "\n" +
				`content_block_stop {"index":0}` + "\n" + end("end_turn", five)},
		{"without [DONE]", []string{delta(`"content":"a"`), finish("length")},
			begin + `content_block_start {"content_block":{"text":"","type":"text"},"index":0}` + "\n" +
				`content_block_delta {"delta":{"text":"a","type":"text_delta"},"index":0}` + "\n" +
				`content_block_stop {"index":0}` + "\n" + end("max_tokens", none)},
		{"nothing said", []string{finish("stop"), "[DONE]"}, begin + end("end_turn", none)},
		{"tools", []string{
			delta(`"content":"a"`), delta(`"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":""}}]`),
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]`),
			delta(`"tool_calls":[{"index":1,"function":{"name":"g","arguments":"{}"}}]`), finish("stop"), "[DONE]",
		},
			begin + `content_block_start {"content_block":{"text":"","type":"text"},"index":0}` + "\n" +
				`content_block_delta {"delta":{"text":"a","type":"text_delta"},"index":0}` + "\n" +
				`content_block_stop {"index":0}` + "\n" +
				`content_block_start {"content_block":{"id":"c1","input":{},"name":"f","type":"tool_use"},"index":1}` + "\n" +
				`content_block_delta {"delta":{"partial_json":"{\"x\":","type":"input_json_delta"},"index":1}` + "\n" +
				`content_block_delta {"delta":{"partial_json":"1}","type":"input_json_delta"},"index":1}` + "\n" +
				`content_block_stop {"index":1}` + "\n" +
				`content_block_start {"content_block":{"id":"toolu_1_2","input":{},"name":"g","type":"tool_use"},"index":2}` + "\n" +
				`content_block_delta {"delta":{"partial_json":"{}","type":"input_json_delta"},"index":2}` + "\n" +
				`content_block_stop {"index":2}` + "\n" + end("tool_use", none)},
	} {
		got, err := play(NewAnswer(ask(t, `,"stream":true`), "1"), c.events...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, told(got)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
	got, err := play(NewAnswer(ask(t, `,"stream":true,"thinking":{"type":"enabled"}`), "1"),
		delta(`"reasoning_content":"hm"`), delta(`"content":"a"`), finish("stop"), "[DONE]")
	if err != nil || !strings.Contains(got, `"thinking_delta"`) || strings.Count(got, "content_block_stop\n") != 2 {
		t.Errorf("thinking became %s, %v", got, err)
	}
	for name, events := range map[string][]string{
		"cut":                     {delta(`"content":"a"`)},
		"nothing":                 {},
		"only the end":            {"[DONE]"},
		"an error":                {`{"error":{"message":"no"}}`},
		"no JSON":                 {"<html>"},
		"a piece of another call": {delta(`"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]`), delta(`"tool_calls":[{"index":1,"function":{"arguments":"{"}}]`)},
	} {
		if got, err := play(NewAnswer(ask(t, `,"stream":true`), "1"), events...); err == nil || strings.Contains(got, "message_stop") {
			t.Errorf("%s became %q, %v, which looks whole", name, got, err)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	r := ask(t, `,"system":"12345678","tools":[{"name":"f","description":"1234","input_schema":{}}]`)
	// 2 for the system, 4+1 for the message, 4+1+1+1 for the tool.
	if got := r.Estimate(); got != 14 {
		t.Errorf("the estimate is %d, want 14", got)
	}
	body, err := r.Tokenize(Target{Model: "served"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tokenize", string(body), `{"model":"served","add_generation_prompt":true,"messages":[{"role":"system","content":"12345678"},{"role":"user","content":"x"}],
		"tools":[{"type":"function","function":{"name":"f","description":"1234","parameters":{}}}]}`)
	got, err := Counted([]byte(`{"count":12,"max_model_len":4096}`))
	if err != nil || string(got) != `{"input_tokens":12}` {
		t.Errorf("counted %s, %v", got, err)
	}
	if got, err := Counted([]byte(`{}`)); err == nil {
		t.Errorf("nothing was counted as %s", got)
	}
}

// FuzzTranslate looks for requests and answers that make the translation panic, or give what
// is no JSON.
func FuzzTranslate(f *testing.F) {
	f.Add(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`, `{"choices":[{"delta":{"content":"a"}}]}`)
	f.Add(`{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"n","input":{}}]}]}`,
		`{"choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`)
	f.Add(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"url","url":"u"}}]}]}]}`, `[DONE]`)
	f.Fuzz(func(t *testing.T, request, answer string) {
		r, err := Parse([]byte(request), false)
		if err != nil {
			return
		}
		if body, err := r.Chat(Target{Model: "m"}); err != nil || !json.Valid(body) {
			t.Errorf("%q became %q, %v", request, body, err)
		}
		if r.Estimate() < 0 {
			t.Errorf("%q has %d tokens", request, r.Estimate())
		}
		if body, err := NewAnswer(r, "1").Document([]byte(answer)); err == nil && !json.Valid(body) {
			t.Errorf("%q became %q", answer, body)
		}
		if stream, err := play(NewAnswer(r, "1"), answer, answer, "[DONE]"); err == nil && strings.HasPrefix(told(stream), "no event") {
			t.Errorf("%q became %q", answer, stream)
		}
	})
}
