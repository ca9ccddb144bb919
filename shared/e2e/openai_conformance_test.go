package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// named is what an error of the engine's own becomes: its words, type and status stay.
var named = &difference{
	why: "errors without a code get one",
	of: func(answer string) string {
		answer = strings.Replace(answer, "application/json; charset=utf-8", "application/json", 1)
		return strings.TrimSuffix(strings.Replace(answer, `"code":null`, `"code":"engine_error"`, 1), "\n")
	},
}

// own is an answer of the gateway's own; … stands between parts of it.
func own(why, want string) *difference { return &difference{why: why, want: want} }

var (
	placed  = own("the gateway says where JSON is wrong", `400 application/json…"message":"invalid JSON at byte …"invalid_request"`)
	strange = own("the gateway lists what there is", `404 application/json…"code":"model_not_found"…tiny`)
	lacking = own("the gateway says who lacks an endpoint", `404 application/json…"code":"endpoint_not_supported"…ollama`)
)

// wrongModel is what a request without a fit name of a model gets.
func wrongModel(message string) *difference {
	return own("the gateway looks for the model", `400 application/json…"message":"`+message+`…"param":"model"`)
}

// compareOpenAI has an Ollama and the gateway answer OpenAI's requests.
func compareOpenAI(t *testing.T, direct, through string) {
	const (
		chat       = "POST /v1/chat/completions"
		completion = "POST /v1/completions"
		embeddings = "POST /v1/embeddings"
		hello      = `"messages":[{"role":"user","content":"hello"}]`
		usage      = `"stream":true,"stream_options":{"include_usage":true},`
		tool       = `"tools":[{"type":"function","function":{"name":"machine","description":"d","parameters":{"type":"object","required":[],"properties":{}}}}],`
		called     = `"messages":[{"role":"user","content":"where?"},{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"machine","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"here"}]`
	)
	for i, row := range []conformance{
		{chat, `{"model":"tiny",` + hello + `}`, nil},
		{chat, `{"model":"tiny","stream":false,` + hello + `}`, nil},
		{chat, `{"model":"tiny","stream":true,` + hello + `}`, nil},
		{chat, `{"model":"tiny",` + usage + hello + `}`, nil},
		{chat, `{"model":"tiny","stream":true,"stream_options":{"include_usage":false},` + hello + `}`, nil},
		{chat, `{"model":"tiny:latest",` + hello + `}`, nil},
		{chat, `{"model":"tiny:latest",` + usage + hello + `}`, nil},
		{chat, "\n{ " + hello + ",\n\t\"model\" : \"t\\u0069ny\" }\n", nil},
		{chat, `{"model":"tiny","seed":7,"temperature":0.5,"top_p":0.9,"max_tokens":6,` + hello + `}`, nil},
		{chat, `{"model":"tiny","max_tokens":3,` + hello + `}`, nil},
		{chat, `{"model":"tiny","max_tokens":3,` + usage + hello + `}`, nil},
		{chat, `{"model":"tiny","max_completion_tokens":3,` + hello + `}`, nil},
		{chat, `{"model":"tiny","stop":"tiny",` + hello + `}`, nil},
		{chat, `{"model":"tiny","stop":["tiny","says"],"stream":true,` + hello + `}`, nil},
		{chat, `{"model":"tiny","frequency_penalty":0.5,"presence_penalty":-0.5,` + hello + `}`, nil},
		{chat, `{"model":"tiny","n":2,"logprobs":true,"user":"u","metadata":{"a":"b"},"unknown":{"x":[1,2,{"y":null}]},` + hello + `}`, nil},
		{chat, `{"model":"tiny",` + tool + hello + `}`, nil},
		{chat, `{"model":"tiny","stream":true,` + tool + hello + `}`, nil},
		{chat, `{"model":"tiny",` + tool + called + `}`, nil},
		{chat, `{"model":"tiny",` + usage + tool + called + `}`, nil},
		{chat, `{"model":"tiny","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"äöü \u00e9 \ud83d\ude00"}]}`, nil},
		{chat, `{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}]}`, nil},
		{chat, `{"model":"tiny","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}`, nil},
		{chat, `{"model":"tiny","messages":[{"role":"user","content":"` + strings.Repeat("long ", 300) + `"}]}`, nil},
		{chat, `{"model":"tiny","max_tokens":8,"response_format":{"type":"text"},` + hello + `}`, nil},
		{chat, `{"model":"tiny","messages":[]}`, named},
		{chat, `{"model":"tiny"}`, named},
		{chat, `{"model":"tiny","stream":true,"messages":7}`, named},
		{chat, `{"model":"tiny","messages":[{"role":"user","content":7}]}`, named},
		{chat, `{"model":"tiny","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y.png"}}]}]}`, named},
		{chat, `{"model":"tiny","temperature":"hot",` + hello + `}`, named},
		{chat, `{"model":"tiny","max_tokens":"three",` + hello + `}`, named},
		{chat, `{"model":"tiny","stream":"yes",` + hello + `}`, named},
		{chat, `{"model":"tiny","tools":7,` + hello + `}`, named},
		{chat, `{"model":"tiny",`, placed},
		{chat, ``, placed},
		{chat, `{"model":"tiny",` + hello + `} {}`, placed},
		{chat, `[]`, own("the gateway says what it wants", `400 application/json…the body must be a JSON object`)},
		{chat, `{` + hello + `}`, wrongModel("model is missing")},
		{chat, `{"model":"",` + hello + `}`, wrongModel("model ")},
		{chat, `{"model":7,` + hello + `}`, wrongModel("model must be a string")},
		{chat, `{"model":"tiny","model":"tiny",` + hello + `}`, wrongModel("model is given twice")},
		{chat, `{"model":"nope",` + hello + `}`, strange},
		{chat, `{"model":"nope","stream":true,` + hello + `}`, strange},
		{"GET /v1/chat/completions", ``, own("the gateway says which method", `405 application/json…"code":"method_not_allowed"`)},
		{completion, `{"model":"tiny","prompt":"hello"}`, nil},
		{completion, `{"model":"tiny","prompt":"hello","stream":true}`, nil},
		{completion, `{"model":"tiny",` + usage + `"prompt":"hello"}`, nil},
		{completion, `{"model":"tiny:latest","prompt":"hello","max_tokens":4,"stop":["x"],"seed":1,"temperature":0}`, nil},
		{completion, `{"model":"tiny","prompt":"hello","echo":true,"best_of":2,"logit_bias":{"1":2}}`, nil},
		{completion, `{"model":"tiny","prompt":"a","suffix":"b"}`, named},
		{completion, `{"model":"tiny","prompt":7}`, named},
		{completion, `{"model":"tiny","prompt":["a","b"]}`, named},
		{completion, `{"model":"tiny","prompt":"a","stop":7}`, nil},
		{completion, `{"model":"tiny","prompt":"hello"`, placed},
		{completion, `{"model":"nope","prompt":"hello"}`, strange},
		{embeddings, `{"model":"tiny","input":"hello"}`, nil},
		{embeddings, `{"model":"tiny:latest","input":["hello","world"]}`, nil},
		{embeddings, `{"model":"tiny","input":"hello","encoding_format":"float","user":"u"}`, nil},
		{embeddings, `{"model":"tiny","input":""}`, nil},
		{embeddings, `{"model":"tiny","input":[]}`, named},
		{embeddings, `{"model":"tiny"}`, named},
		{embeddings, `{"model":"tiny","input":7}`, named},
		{embeddings, `{"model":"tiny","input":[1,2]}`, named},
		{embeddings, `{"model":"tiny","input":"x}`, placed},
		{embeddings, `{"model":"nope","input":"hello"}`, strange},
		{"GET /v1/models", ``, own("the cluster's models", `200 application/json…{"object":"list","data":[{"id":"breaks"…{"id":"tiny-loop:latest","object":"model",…"owned_by":"orchion"…{"id":"tiny:latest"`)},
		{"GET /v1/models/tiny", ``, own("the cluster's model", `200 application/json…{"id":"tiny:latest","object":"model",…"engines":["ollama"]`)},
		{"GET /v1/models/nope", ``, strange},
		{"POST /v1/rerank", `{"model":"tiny","query":"a","documents":["b"]}`, lacking},
		{"POST /v1/audio/speech", `{"model":"tiny","input":"a","voice":"b"}`, lacking},
		{"POST /v1/nothing", `{}`, own("the gateway lists what there is", `404 application/json…"code":"unknown_url"…/v1/chat/completions`)},
	} {
		t.Run(fmt.Sprintf("%02d %s", i, row.request), func(t *testing.T) { row.compare(t, direct, through) })
	}
}
