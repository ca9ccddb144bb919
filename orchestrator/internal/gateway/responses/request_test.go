package responses

import (
	"encoding/json"
	"errors"
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
	const f = `{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true}`
	const g = `{"type":"function","name":"g","description":null,"parameters":null,"strict":null}`
	const chatF = `{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}`
	const chatG = `{"type":"function","function":{"name":"g"}}`
	hi := func(more string) string { return `{"model":"m","input":"hi"` + more + `}` }
	chatHi := func(more string) string {
		return `{"model":"served","messages":[{"role":"user","content":"hi"}]` + more + `}`
	}
	for _, c := range []struct{ name, request, want string }{
		{"least", hi(""), chatHi("")},
		{"nulls", hi(`,"instructions":null,"tools":null,"previous_response_id":null,"conversation":null,"tool_choice":null,"text":null,"reasoning":null,"nonsense":null`), chatHi("")},
		{"everything", `{"model":"m","input":"hi","instructions":"be kind","temperature":0.5,"top_p":0.9,"max_output_tokens":5,"user":"u","stream":true,"reasoning":{"effort":"xhigh","summary":"auto","generate_summary":null,"context":"auto"},
			"text":{"format":{"type":"text"},"verbosity":"low"},"metadata":{"a":"b"},"store":true,"background":false,"include":[],"truncation":"disabled","service_tier":"auto","top_logprobs":0,
			"stream_options":{"include_obfuscation":false},"max_tool_calls":3,"safety_identifier":"s","prompt_cache_key":"k","prompt_cache_retention":"24h","prompt_cache_options":{},"parallel_tool_calls":false}`,
			`{"model":"served","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}],"temperature":0.5,"top_p":0.9,"max_tokens":5,"user":"u",
			"reasoning_effort":"high","verbosity":"low","stream":true,"stream_options":{"include_usage":true}}`},
		{"the system speaks once", `{"model":"m","instructions":"a","input":[{"role":"developer","content":"b"},{"type":"message","role":"system","content":[{"type":"input_text","text":"c"}]},
			{"role":"user","content":"x"},{"role":"user","content":[{"type":"input_text","text":"y"}]}]}`,
			`{"model":"served","messages":[{"role":"system","content":"a\n\nb\n\nc"},{"role":"user","content":"x\n\ny"}]}`},
		{"pictures", `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"what?"},{"type":"input_image","image_url":"data:image/png;base64,AA","detail":"auto"},
			{"type":"input_image","image_url":"https://example.org/a.png","detail":"low","file_id":null}]}]}`,
			`{"model":"served","messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},
			{"type":"image_url","image_url":{"url":"https://example.org/a.png","detail":"low"}}]}]}`},
		{"a conversation", `{"model":"m","input":[{"role":"user","content":"go"},
			{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"},
			{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"I call","annotations":[]},{"type":"refusal","refusal":"not all"}]},
			{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"x\":1}"},{"type":"function_call","call_id":"c2","name":"f","arguments":""},
			{"type":"function_call_output","call_id":"c1","output":"one"},
			{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"},{"type":"input_image","image_url":"u"}]},
			{"role":"assistant","content":"done"},{"role":"user","content":"thanks"}]}`,
			`{"model":"served","messages":[{"role":"user","content":"go"},
			{"role":"assistant","content":"I call\n\nnot all","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"c2","type":"function","function":{"name":"f","arguments":"{}"}}]},
			{"role":"tool","tool_call_id":"c1","content":"one"},{"role":"tool","tool_call_id":"c2","content":"two"},
			{"role":"user","content":[{"type":"text","text":"The picture that the tool call c2 gave:"},{"type":"image_url","image_url":{"url":"u"}}]},
			{"role":"assistant","content":"done"},{"role":"user","content":"thanks"}]}`},
		{"a call and its picture at the end", `{"model":"m","input":[{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":[{"type":"input_image","image_url":"u"}]}]}`,
			`{"model":"served","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":""},
			{"role":"user","content":[{"type":"text","text":"The picture that the tool call c1 gave:"},{"type":"image_url","image_url":{"url":"u"}}]}]}`},
		{"tools", hi(`,"tools":[` + f + `,` + g + `],"tool_choice":"required","parallel_tool_calls":false`), chatHi(`,"tools":[` + chatF + `,` + chatG + `],"tool_choice":"required","parallel_tool_calls":false`)},
		{"one tool", hi(`,"tools":[` + f + `,` + g + `],"tool_choice":{"type":"function","name":"g"}`), chatHi(`,"tools":[` + chatF + `,` + chatG + `],"tool_choice":` + chatG)},
		{"allowed tools", hi(`,"tools":[` + f + `,` + g + `],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]}`), chatHi(`,"tools":[` + chatG + `],"tool_choice":"auto"`)},
		{"no tool", hi(`,"tools":[` + f + `],"tool_choice":"none"`), chatHi("")},
		{"a schema", hi(`,"text":{"format":{"type":"json_schema","name":"n","description":"d","schema":{"type":"object"},"strict":true}}`),
			chatHi(`,"response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"type":"object"},"strict":true}}`)},
		{"JSON", hi(`,"text":{"format":{"type":"json_object"}}`), chatHi(`,"response_format":{"type":"json_object"}`)},
	} {
		r, err := Parse([]byte(c.request))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := r.Chat(Target{Model: "served"})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		same(t, c.name, string(got), c.want)
		if r.Stream() != strings.Contains(c.want, `"stream":true`) {
			t.Errorf("%s: a stream: %v", c.name, r.Stream())
		}
	}
	for choice, want := range map[string]bool{`"required"`: false, `{"type":"function","name":"f"}`: false, `"auto"`: true, `"none"`: true} {
		r, err := Parse([]byte(hi(`,"tools":[` + f + `],"tool_choice":` + choice)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Chat(Target{Model: "served", ChoosesItself: true})
		if field := new(FieldError); (err == nil) != want || err != nil && (!errors.As(err, &field) || field.Field != "tool_choice") {
			t.Errorf("an engine that chooses itself is asked for %s: %v", choice, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	hi := func(more string) string { return `{"model":"m","input":"hi",` + more + `}` }
	input := func(items string) string { return `{"model":"m","input":` + items + `}` }
	user := func(part string) string { return input(`[{"role":"user","content":[` + part + `]}]`) }
	long := strings.Repeat("x", 600)
	for request, want := range map[string]string{
		`{"model":"m"}`:                              "input is required",
		input(`5`):                                   "input must be a string or a list of items",
		input(`[]`):                                  "input must have at least one item",
		input(`[5]`):                                 "input[0] must be an item, whose type, role, call_id, name and arguments are strings",
		input(`[{"type":"item_reference"}]`):         "input[0] is a reference, and no items are kept here; send the item itself",
		input(`[{"id":"msg_1"}]`):                    "input[0] is a reference, and no items are kept here; send the item itself",
		input(`[{"type":"web_search_call"}]`):        `input[0].type is "web_search_call", want message, function_call, function_call_output or reasoning`,
		input(`[{"content":"x"}]`):                   `input[0].role is "", want user, assistant, system or developer`,
		input(`[{"role":"user"}]`):                   "input[0].content is required",
		input(`[{"role":"user","content":5}]`):       "input[0].content must be a string or a list of parts",
		user(`5`):                                    "input[0].content[0] must be a part, whose type, text, image_url and detail are strings",
		user(`{"type":"input_file"}`):                `input[0].content[0].type is "input_file", want input_text or input_image`,
		user(`{"type":"input_text"}`):                "input[0].content[0].text is required",
		user(`{"type":"input_image"}`):               "input[0].content[0].image_url is required",
		user(`{"type":"input_image","file_id":"f"}`): "input[0].content[0].file_id cannot be used with this engine: no files are kept; send the picture as image_url, with its data or address",
		user(`{"type":"input_image","image_url":"u","detail":"original"}`):      `input[0].content[0].detail is "original", want auto, low or high`,
		input(`[{"role":"system","content":[{"type":"input_image"}]}]`):         `input[0].content[0].type is "input_image", want input_text`,
		input(`[{"role":"assistant","content":[{"type":"refusal"}]}]`):          "input[0].content[0].refusal is required",
		input(`[{"type":"function_call","call_id":"c","name":"f"}]`):            "input[0] needs a call_id, a name and arguments",
		input(`[{"type":"function_call_output","call_id":"c","output":"x"}]`):   `input[0].call_id is "c", and no function_call before it has it`,
		hi(`"previous_response_id":"resp_1"`):                                   "previous_response_id cannot be used with this engine: no response is kept; send what was said before as input",
		hi(`"conversation":"conv_1"`):                                           "conversation cannot be used with this engine: no conversation is kept; send what was said before as input",
		hi(`"prompt":{"id":"p"}`):                                               "prompt cannot be used with this engine: no prompts are kept; send the text as instructions or input",
		hi(`"context_management":[]`):                                           "context_management cannot be used with this engine, which does not compact a conversation",
		hi(`"background":true`):                                                 "background is true, and nothing is kept here that could be asked for later; want false",
		hi(`"include":["reasoning.encrypted_content"]`):                         `include[0] is "reasoning.encrypted_content", which this engine does not give; want an empty list`,
		hi(`"top_logprobs":2`):                                                  "top_logprobs is 2, want 0: the probabilities of tokens are not translated",
		hi(`"truncation":"auto"`):                                               `truncation is "auto", want disabled: this engine does not leave items out by itself`,
		hi(`"service_tier":"flex"`):                                             `service_tier is "flex", want auto or default: there is one tier`,
		hi(`"nonsense":1`):                                                      "nonsense is not known here, and cannot be passed on to this engine",
		hi(`"` + long + `":1`):                                                  long[:64] + "... is not known here, and cannot be passed on to this engine",
		hi(`"instructions":[]`):                                                 "instructions must be a string",
		hi(`"stream":"yes"`):                                                    "stream must be true or false",
		hi(`"temperature":3`):                                                   "temperature is 3, want 0 to 2",
		hi(`"top_p":"x"`):                                                       "top_p must be a number",
		hi(`"max_output_tokens":0`):                                             "max_output_tokens is 0, want 1 or more",
		hi(`"max_output_tokens":1.5`):                                           "max_output_tokens must be a whole number",
		hi(`"metadata":{"a":1}`):                                                "metadata must be an object whose values are strings",
		hi(`"metadata":{"a":"` + long + `"}`):                                   "metadata has a key of more than 64 or a value of more than 512 characters",
		hi(`"metadata":{` + strings.Repeat(`"a":"",`, 3) + manyPairs(17) + `}`): "metadata has 18 keys, at most 16 are allowed",
		hi(`"reasoning":{"effort":"much"}`):                                     `reasoning.effort is "much", want none, minimal, low, medium, high, xhigh or max`,
		hi(`"reasoning":{"summary":"detailed"}`):                                `reasoning.summary is "detailed", want auto: this engine gives its reasoning, and no summaries of it`,
		hi(`"reasoning":{"context":"all_turns"}`):                               `reasoning.context is "all_turns", want auto or current_turn: this engine is not told what it thought before`,
		hi(`"reasoning":{"mode":"x"}`):                                          "reasoning.mode is not known here, and cannot be passed on to this engine",
		hi(`"reasoning":{"effort":1}`):                                          "reasoning must be an object whose values are strings",
		hi(`"tools":{}`):                                                        "tools must be a list",
		hi(`"tools":[{"type":"web_search"}]`):                                   `tools[0].type is "web_search", want function: this engine has no tools of its own`,
		hi(`"tools":[{"type":"function"}]`):                                     "tools[0].name is required",
		hi(`"tools":[{"type":"function","name":"f","parameters":[]}]`):          "tools[0].parameters must be an object",
		hi(`"tool_choice":"all"`):                                               `tool_choice is "all", want none, auto, required or an object`,
		hi(`"tool_choice":"required"`):                                          "tool_choice asks for a call, and there are no tools",
		hi(`"tool_choice":5`):                                                   "tool_choice must be a string or an object",
		hi(`"tool_choice":{"type":"web_search_preview"}`):                       `tool_choice.type is "web_search_preview", want function or allowed_tools`,
		hi(`"tool_choice":{"type":"function","name":"f"}`):                      `tool_choice.name is "f", and no tool has that name`,
		hi(`"tool_choice":{"type":"allowed_tools","mode":"all"}`):               `tool_choice.mode is "all", want auto or required`,
		hi(`"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","name":"f"}]}`): `tool_choice.tools[0] is function "f", and there is no such tool`,
		hi(`"text":{"verbosity":"much"}`):                         `text.verbosity is "much", want low, medium or high`,
		hi(`"text":{"format":{"type":"xml"}}`):                    `text.format.type is "xml", want text, json_object or json_schema`,
		hi(`"text":{"format":{"type":"json_schema"}}`):            "text.format.name is required",
		hi(`"text":{"format":{"type":"json_schema","name":"n"}}`): "text.format.schema must be an object",
	} {
		_, err := Parse([]byte(request))
		var field *FieldError
		if !errors.As(err, &field) || err.Error() != want {
			t.Errorf("%.200s:\n%v, want\n%s", request, err, want)
		}
	}
	for _, body := range []string{"", "[]", "{"} {
		if _, err := Parse([]byte(body)); err == nil {
			t.Errorf("%q was understood", body)
		}
	}
}

func manyPairs(n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = `"` + strings.Repeat("k", i+1) + `":""`
	}
	return strings.Join(pairs, ",")
}
