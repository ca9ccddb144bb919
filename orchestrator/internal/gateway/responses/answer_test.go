package responses

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func ask(t *testing.T, more string) *Request {
	t.Helper()
	r, err := Parse([]byte(`{"model":"m","input":"x"` + more + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newAnswer(r *Request) *Answer { return NewAnswer(r, "1", time.Unix(5, 0)) }

// usual are the fields of a response that are the same for every plain request.
const usual = `"id":"resp_1","object":"response","created_at":5,"background":false,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,
	"model":"m","previous_response_id":null,"prompt_cache_key":null,"safety_identifier":null,"service_tier":"default","store":false,"temperature":null,
	"text":{"format":{"type":"text"}},"tool_choice":"auto","top_logprobs":0,"top_p":null,"truncation":"disabled","user":null`

func textItem(n int, status, parts string) string {
	return fmt.Sprintf(`{"id":"msg_1_%d","type":"message","status":%q,"role":"assistant","content":[%s]}`, n, status, parts)
}

func textPart(text string) string {
	return fmt.Sprintf(`{"type":"output_text","text":%q,"annotations":[],"logprobs":[]}`, text)
}

func callItem(n int, status, callID, name, arguments string) string {
	return fmt.Sprintf(`{"id":"fc_1_%d","type":"function_call","status":%q,"call_id":%q,"name":%q,"arguments":%q}`, n, status, callID, name, arguments)
}

func TestDocument(t *testing.T) {
	t.Parallel()
	whole := func(status, because, output, usage string) string {
		return `{` + usual + `,"status":"` + status + `","error":null,"incomplete_details":` + because + `,"output":[` + output + `],"usage":` + usage +
			`,"parallel_tool_calls":true,"metadata":{},"tools":[],"reasoning":{"effort":null,"summary":null}}`
	}
	hi := textItem(0, completed, textPart("hi"))
	for _, c := range []struct{ name, body, want string }{
		{"text", `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":1}}}`,
			whole(completed, "null", hi, `{"input_tokens":7,"input_tokens_details":{"cached_tokens":3},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":9}`)},
		{"cut", `{"choices":[{"message":{"content":"hi"},"finish_reason":"length"}]}`, whole(unfinished, `{"reason":"max_output_tokens"}`, textItem(0, unfinished, textPart("hi")), "null")},
		{"filtered", `{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"content_filter"}]}`, whole(unfinished, `{"reason":"content_filter"}`, textItem(0, unfinished, `{"type":"refusal","refusal":"no"}`), "null")},
		{"nothing", `{"choices":[{"message":{},"finish_reason":"stop"}]}`, whole(completed, "null", "", "null")},
		{"thinking", `{"choices":[{"message":{"content":"hi","reasoning":"hm","reasoning_content":"hm"},"finish_reason":"stop"}]}`,
			whole(completed, "null", `{"id":"rs_1_0","type":"reasoning","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},`+textItem(1, completed, textPart("hi")), "null")},
		{"tools", `{"choices":[{"message":{"content":"hi","tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"x\":1}"}},{"function":{"name":"g","arguments":""}}]},"finish_reason":"tool_calls"}]}`,
			whole(completed, "null", hi+","+callItem(1, completed, "c1", "f", `{"x":1}`)+","+callItem(2, completed, "call_1_2", "g", "{}"), "null")},
	} {
		got, err := newAnswer(ask(t, "")).Document([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		same(t, c.name, string(got), c.want)
	}
	for _, body := range []string{"<html>", `{}`, `{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{"}}]}}]}`} {
		if got, err := newAnswer(ask(t, "")).Document([]byte(body)); err == nil {
			t.Errorf("%s became %s", body, got)
		}
	}
}

// What a request asked for is repeated in its answer, but for what nobody does.
func TestDocumentRepeatsTheRequest(t *testing.T) {
	t.Parallel()
	const repeated = `"instructions":"be kind","max_output_tokens":9,"max_tool_calls":2,"metadata":{"a":"b"},"prompt_cache_key":"k","reasoning":{"effort":"low"},
		"safety_identifier":"s","temperature":0.5,"text":{"verbosity":"low"},"tool_choice":"auto","tools":[{"type":"function","name":"f"}],"top_p":0.5,"user":"u"`
	r := ask(t, ","+repeated+`,"store":true,"service_tier":"auto","parallel_tool_calls":false`)
	got, err := newAnswer(r).Document([]byte(`{"choices":[{"message":{"content":"hi","tool_calls":[{"id":"c","function":{"name":"f"}},{"id":"d","function":{"name":"f"}}]},"finish_reason":"length"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(`{`+repeated+`,"store":false,"service_tier":"default","parallel_tool_calls":false}`), &fields); err != nil {
		t.Fatal(err)
	}
	var told map[string]json.RawMessage
	if err := json.Unmarshal(got, &told); err != nil {
		t.Fatal(err)
	}
	for name, want := range fields {
		same(t, name, string(told[name]), string(want))
	}
	same(t, "only one call", string(told["output"]), `[`+textItem(0, completed, textPart("hi"))+`,`+callItem(1, completed, "c", "f", "{}")+`]`)
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

// told is a stream as a client understands it.
type told struct {
	kinds string // of its events, without repetitions
	last  string // the response that its last event tells
	built []map[string]any
}

// follow reads a stream as OpenAI's SDKs do: it puts the items together from the pieces.
func follow(stream string) (told, error) {
	var c told
	for n, text := range strings.Split(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(strings.TrimPrefix(text, "event: "), "\ndata: ")
		var e struct {
			Type           string
			SequenceNumber *int `json:"sequence_number"`
			OutputIndex    int  `json:"output_index"`
			ContentIndex   int  `json:"content_index"`
			Item, Part     map[string]any
			Response       json.RawMessage
			Delta          string
			Text           *string
			Refusal        *string
			Arguments      *string
			ItemID         string `json:"item_id"`
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return c, fmt.Errorf("event %d is %s: %w", n, text, err)
		}
		if e.Type != name || e.SequenceNumber == nil || *e.SequenceNumber != n {
			return c, fmt.Errorf("event %d has another type or number: %s", n, text)
		}
		if !strings.HasSuffix(c.kinds, " "+name) {
			c.kinds += " " + name
		}
		if e.Response != nil {
			c.last = string(e.Response)
			continue
		}
		if name == "error" {
			continue
		}
		if name == "response.output_item.added" {
			if e.OutputIndex != len(c.built) {
				return c, fmt.Errorf("event %d skips an item: %s", n, text)
			}
			c.built = append(c.built, e.Item)
			continue
		}
		if e.OutputIndex != len(c.built)-1 {
			return c, fmt.Errorf("event %d is about no item that is open: %s", n, text)
		}
		if err := c.take(name, e.OutputIndex, e.ContentIndex, e.Item, e.Part, e.Delta, e.Text, e.Refusal, e.Arguments); err != nil {
			return c, fmt.Errorf("event %d: %w: %s", n, err, text)
		}
		if it := c.built[e.OutputIndex]; e.ItemID != "" && e.ItemID != it["id"] {
			return c, fmt.Errorf("event %d names another item: %s", n, text)
		}
	}
	return c, nil
}

func (c *told) take(name string, output, content int, done, p map[string]any, delta string, text, refusal, arguments *string) error {
	it := c.built[output]
	part := func() map[string]any { return it["content"].([]any)[content].(map[string]any) }
	add := func(to map[string]any, key string) { to[key] = to[key].(string) + delta }
	is := func(got any, want *string) error {
		if want == nil || got != *want {
			return fmt.Errorf("the pieces make %q", got)
		}
		return nil
	}
	switch name {
	case "response.content_part.added":
		it["content"] = append(it["content"].([]any), p)
	case "response.output_text.delta", "response.reasoning_text.delta":
		add(part(), "text")
	case "response.refusal.delta":
		add(part(), "refusal")
	case "response.function_call_arguments.delta":
		add(it, "arguments")
	case "response.output_text.done", "response.reasoning_text.done":
		return is(part()["text"], text)
	case "response.refusal.done":
		return is(part()["refusal"], refusal)
	case "response.function_call_arguments.done":
		return is(it["arguments"], arguments)
	case "response.content_part.done":
		if diff := cmp.Diff(part(), p); diff != "" {
			return fmt.Errorf("the part is another: %s", diff)
		}
	case "response.output_item.done":
		it["status"] = done["status"]
		if diff := cmp.Diff(it, done); diff != "" {
			return fmt.Errorf("the item is another: %s", diff)
		}
	default:
		return fmt.Errorf("nobody knows it")
	}
	return nil
}

// output gives the items of the last response, after a look that they are those of the pieces.
func (c *told) output(t *testing.T) []byte {
	t.Helper()
	var last struct{ Output []map[string]any }
	if err := json.Unmarshal([]byte(c.last), &last); err != nil {
		t.Fatal(err)
	}
	if len(last.Output)+len(c.built) > 0 {
		if diff := cmp.Diff(c.built, last.Output); diff != "" {
			t.Errorf("the last event tells of other items than those before:\n%s", diff)
		}
	}
	data, err := json.Marshal(last.Output)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A stream that is put together is the answer that comes whole, however it is cut.
func TestStreamIsTheDocument(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, err := Parse([]byte(`{"model":"m","input":"x","parallel_tool_calls":` + rapid.SampledFrom([]string{"true", "false"}).Draw(t, "parallel") + `}`))
		if err != nil {
			t.Fatal(err)
		}
		words := rapid.SampledFrom([]string{"", "a", "hello <b>", "größer & \"x\"\n", strings.Repeat("ab", 50)})
		type call = map[string]any
		message := map[string]any{"reasoning_content": words.Draw(t, "thought"), "content": words.Draw(t, "content"), "refusal": words.Draw(t, "refusal")}
		var calls []call
		for i := range rapid.IntRange(0, 3).Draw(t, "calls") {
			calls = append(calls, call{"index": i, "id": fmt.Sprint("c", i), "function": map[string]any{"name": "f", "arguments": words.Draw(t, "arguments")}})
		}
		message["tool_calls"] = calls
		reason := rapid.SampledFrom([]string{"stop", "length", "tool_calls", "content_filter"}).Draw(t, "reason")
		usage := map[string]any{"prompt_tokens": rapid.IntRange(-1, 9).Draw(t, "in"), "completion_tokens": 3}
		encode := func(v any) string {
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		document, err := newAnswer(r).Document([]byte(encode(map[string]any{"choices": []any{map[string]any{"message": message, "finish_reason": reason}}, "usage": usage})))
		if err != nil {
			t.Fatal(err)
		}
		var events []string
		delta := func(d map[string]any) {
			events = append(events, encode(map[string]any{"choices": []any{map[string]any{"delta": d}}}))
		}
		cut := func(text string, give func(piece string)) {
			for left := []rune(text); len(left) > 0; {
				n := rapid.IntRange(1, len(left)).Draw(t, "piece")
				give(string(left[:n]))
				left = left[n:]
			}
		}
		delta(map[string]any{"role": "assistant", "content": ""})
		for _, key := range []string{"reasoning_content", "content", "refusal"} {
			cut(message[key].(string), func(piece string) { delta(map[string]any{key: piece}) })
		}
		for i, c := range calls {
			delta(map[string]any{"tool_calls": []any{map[string]any{"index": i, "id": c["id"], "function": map[string]any{"name": "f"}}}})
			cut(c["function"].(map[string]any)["arguments"].(string), func(piece string) {
				delta(map[string]any{"tool_calls": []any{map[string]any{"index": i, "function": map[string]any{"arguments": piece}}}})
			})
		}
		events = append(events, encode(map[string]any{"choices": []any{map[string]any{"delta": map[string]any{}, "finish_reason": reason}}}),
			encode(map[string]any{"choices": []any{}, "usage": usage}), "[DONE]")
		stream, err := play(newAnswer(r), events...)
		if err != nil {
			t.Fatal(err)
		}
		c, err := follow(stream)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.last, string(document)); diff != "" {
			t.Fatalf("the stream tells another response than the document:\n%s", diff)
		}
		var whole struct{ Output []map[string]any }
		if err := json.Unmarshal(document, &whole); err != nil {
			t.Fatal(err)
		}
		if len(c.built) != len(whole.Output) || len(c.built) > 0 && !cmp.Equal(c.built, whole.Output) {
			t.Fatalf("put together it is\n%v\nwant\n%v", c.built, whole.Output)
		}
	})
}

// FuzzTranslate looks for requests and answers that make the translation panic, or give what
// no client can follow.
func FuzzTranslate(f *testing.F) {
	f.Add(`{"model":"m","input":"x","tools":[{"type":"function","name":"f"}],"tool_choice":"auto"}`, `{"choices":[{"delta":{"content":"a"}}]}`, `[DONE]`)
	f.Add(`{"model":"m","stream":true,"input":[{"role":"user","content":[{"type":"input_image","image_url":"u"}]},{"type":"function_call","call_id":"c","name":"f","arguments":""},{"type":"function_call_output","call_id":"c","output":"1"}]}`,
		`{"choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"c","function":{"name":"f","arguments":"{}"}}],"reasoning":"r"},"finish_reason":"length"}]}`)
	f.Add(`{"model":"m","input":"x","parallel_tool_calls":false,"text":{"format":{"type":"json_schema","name":"n","schema":{}}}}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}},{"index":1,"id":"d","function":{"name":"f"}}],"refusal":"no","content":"a"}}],"usage":{"prompt_tokens":-1}}`, `{"error":{"message":"no"}}`)
	f.Fuzz(func(t *testing.T, request, first, second string) {
		r, err := Parse([]byte(request))
		if err != nil {
			return
		}
		if body, err := r.Chat(Target{Model: "m"}); err != nil || !json.Valid(body) {
			t.Errorf("%q became %q, %v", request, body, err)
		}
		if body, err := newAnswer(r).Document([]byte(first)); err == nil && !json.Valid(body) {
			t.Errorf("%q became %q", first, body)
		}
		a := newAnswer(r)
		stream, err := play(a, first, second, first)
		if err != nil {
			stream = string(a.Fail([]byte(stream), Failure{Code: "c", Message: "m", Type: "t"}))
		}
		c, badly := follow(stream)
		if badly != nil {
			t.Fatalf("%q, %q became what nobody can follow: %v", first, second, badly)
		}
		ended := strings.HasSuffix(c.kinds, " response.completed") || strings.HasSuffix(c.kinds, " response.incomplete")
		if ended == (err != nil) || !ended && !strings.HasSuffix(c.kinds, " response.failed error") {
			t.Fatalf("%q, %q ended with %s, after %v", first, second, c.kinds, err)
		}
		if ended {
			c.output(t)
		}
	})
}
