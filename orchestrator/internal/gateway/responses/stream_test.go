package responses

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func delta(fields string) string { return `{"choices":[{"index":0,"delta":{` + fields + `}}]}` }

func finish(reason string) string {
	return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
}

const (
	countedFive = `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}`

	begun        = " response.created response.in_progress"
	messageKinds = " response.output_item.added response.content_part.added response.output_text.delta response.output_text.done" +
		" response.content_part.done response.output_item.done"
	calledKinds = " response.output_item.added response.function_call_arguments.delta response.function_call_arguments.done response.output_item.done"
)

func TestStream(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, request string
		events        []string
		kinds, output string
	}{
		{name: "text", events: []string{delta(`"role":"assistant","content":""`), delta(`"content":"a"`), delta(`"content":"b"`), finish("stop"), countedFive, "[DONE]", "ignored"},
			kinds: begun + messageKinds + " response.completed", output: textItem(0, completed, textPart("ab"))},
		{name: "without [DONE]", events: []string{delta(`"content":"a"`), finish("length")},
			kinds: begun + messageKinds + " response.incomplete", output: textItem(0, unfinished, textPart("a"))},
		{name: "nothing said", events: []string{finish("stop"), "[DONE]"}, kinds: begun + " response.completed"},
		{name: "thought, text and a refusal", events: []string{delta(`"reasoning":"hm","reasoning_content":"hm"`), delta(`"content":"a"`), delta(`"refusal":"no"`), finish("stop")},
			kinds: begun + " response.output_item.added response.content_part.added response.reasoning_text.delta response.reasoning_text.done response.content_part.done response.output_item.done" +
				strings.TrimSuffix(messageKinds, " response.output_item.done") + " response.content_part.added response.refusal.delta response.refusal.done response.content_part.done response.output_item.done response.completed",
			output: `{"id":"rs_1_0","type":"reasoning","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},` +
				textItem(1, completed, textPart("a")+`,{"type":"refusal","refusal":"no"}`)},
		{name: "calls in pieces", events: []string{
			delta(`"content":"a"`), delta(`"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":""}}]`),
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]`),
			delta(`"tool_calls":[{"index":1,"function":{"name":"g"}}]`), finish("tool_calls"), "[DONE]",
		}, kinds: begun + messageKinds + calledKinds + calledKinds + " response.completed",
			output: textItem(0, completed, textPart("a")) + "," + callItem(1, completed, "c1", "f", `{"x":1}`) + "," + callItem(2, completed, "call_1_2", "g", "{}")},
		// Ollama gives all of them the number 0.
		{name: "whole calls", events: []string{delta(`"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"c2","function":{"name":"f","arguments":"{}"}}]`), finish("length")},
			kinds: begun + calledKinds + calledKinds + " response.incomplete", output: callItem(0, completed, "c1", "f", "{}") + "," + callItem(1, unfinished, "c2", "f", "{}")},
		{name: "one call wanted", request: `,"parallel_tool_calls":false`, events: []string{
			delta(`"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}},{"index":1,"id":"c2","function":{"name":"f","arguments":"{"}}]`),
			delta(`"tool_calls":[{"index":1,"function":{"arguments":"}"}}]`), delta(`"content":"a"`), finish("tool_calls"),
		}, kinds: begun + calledKinds + messageKinds + " response.completed", output: callItem(0, completed, "c1", "f", "{}") + "," + textItem(1, completed, textPart("a"))},
	} {
		got, err := play(newAnswer(ask(t, `,"stream":true`+c.request)), c.events...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		told, err := follow(got)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if told.kinds != c.kinds {
			t.Errorf("%s: the events are\n%s\nwant\n%s", c.name, told.kinds, c.kinds)
		}
		output := string(told.output(t))
		if output == "null" {
			output = "[]"
		}
		same(t, c.name, output, `[`+c.output+`]`)
	}
}

func TestStreamTellsUsage(t *testing.T) {
	t.Parallel()
	got, err := play(newAnswer(ask(t, "")), delta(`"content":"a"`), finish("stop"), countedFive)
	if err != nil {
		t.Fatal(err)
	}
	c, err := follow(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":7}`; !strings.Contains(c.last, want) || strings.Count(got, `"usage":null`) != 2 {
		t.Errorf("the last response is %s, want %s in it, and in no other", c.last, want)
	}
}

// The bytes of events as clients parse them.
func TestStreamBytes(t *testing.T) {
	t.Parallel()
	got, err := play(newAnswer(ask(t, "")), delta(`"content":"a"`), finish("stop"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":0,\"item\":{\"id\":\"msg_1_0\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n",
		"event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":3,\"output_index\":0,\"item_id\":\"msg_1_0\",\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}}\n\n",
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"output_index\":0,\"item_id\":\"msg_1_0\",\"content_index\":0,\"delta\":\"a\",\"logprobs\":[]}\n\n",
		"event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"sequence_number\":5,\"output_index\":0,\"item_id\":\"msg_1_0\",\"content_index\":0,\"text\":\"a\",\"logprobs\":[]}\n\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no\n%sin\n%s", want, got)
		}
	}
}

func TestStreamThatFails(t *testing.T) {
	t.Parallel()
	const limit = 400
	long := strings.Repeat("x", limit/4)
	for name, events := range map[string][]string{
		"cut":                     {delta(`"content":"a"`)},
		"cut in a call":           {delta(`"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]`)},
		"nothing":                 {},
		"only the end":            {"[DONE]"},
		"an error":                {delta(`"content":"a"`), `{"error":{"message":"no"}}`},
		"no JSON":                 {"<html>"},
		"a piece of another call": {delta(`"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]`), delta(`"tool_calls":[{"index":1,"function":{"arguments":"{"}}]`)},
		"too long":                {delta(`"content":"` + long + `"`), delta(`"reasoning":"` + long + `"`), delta(`"content":"` + long + `"`), delta(`"tool_calls":[{"id":"c","function":{"name":"f","arguments":"` + long + `"}}]`), finish("stop")},
	} {
		a := newAnswer(ask(t, `,"stream":true`))
		a.limit = limit
		got, err := play(a, events...)
		if err == nil {
			t.Errorf("%s became %q, which looks whole", name, got)
			continue
		}
		c, badly := follow(string(a.Fail([]byte(got), Failure{Code: "engine_failed", Message: "it broke", Type: "server_error"})))
		if badly != nil {
			t.Errorf("%s: %v", name, badly)
			continue
		}
		if !strings.HasPrefix(c.kinds, begun) || !strings.HasSuffix(c.kinds, " response.failed error") {
			t.Errorf("%s: the events are %s", name, c.kinds)
		}
		var last struct {
			Status string
			Error  failure
			Output []struct{ Status string }
		}
		if err := json.Unmarshal([]byte(c.last), &last); err != nil || last.Status != failed || last.Error != (failure{"server_error", "it broke"}) {
			t.Errorf("%s: the last response is %s", name, c.last)
		}
		if n := len(last.Output); n > 0 && name != "too long" && last.Output[n-1].Status != unfinished {
			t.Errorf("%s: its last item is %s", name, last.Output[n-1].Status)
		}
		if more := a.Fail(nil, Failure{}); more != nil {
			t.Errorf("%s: it failed again: %s", name, more)
		}
	}
	if _, err := play(newAnswer(ask(t, ""))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("no stream at all: %v", err)
	}
	got := string(newAnswer(ask(t, "")).Fail(nil, Failure{Code: "c", Message: "m", Type: "t"}))
	if want := fmt.Sprintf("event: error\ndata: %s\n\n", `{"type":"error","sequence_number":3,"code":"c","message":"m","param":null,"error":{"code":"c","message":"m","type":"t","param":null}}`); !strings.HasSuffix(got, want) {
		t.Errorf("it ends with %s, want %s", got, want)
	}
}
