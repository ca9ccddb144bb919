package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

// coldModel is deployed where it can never be served.
const coldModel = "cold"

// TestOpenAIAPI has OpenAI's own clients use the cluster as they would OpenAI, and compares
// what it answers with what the engine answers directly.
func TestOpenAIAPI(t *testing.T) {
	t.Parallel()
	needOllama(t)
	direct := startOllama(t, offlinemodel.Tiny, offlinemodel.TinyLoop)
	c := newCluster(t)
	c.addAgent("openai", built.engines[0], "--adopt", direct+","+startBreaking(t))
	client := c.openAI()
	c.eventually("the adopted models are served", func() error {
		models, err := client.Models.List(t.Context())
		if err == nil && len(models.Data) != 3 {
			err = fmt.Errorf("models are %v", models.Data)
		}
		return err
	})
	t.Run("answers as the engine does", func(t *testing.T) { compareOpenAI(t, direct, c.url) })

	if err := c.call(http.MethodPost, "/api/deployments", &orchionv1.CreateDeploymentRequest{Spec: &orchionv1.DeploymentSpec{
		Model: coldModel, Engine: orchionv1.Engine_ENGINE_OLLAMA, Image: offlinemodel.Image, Constraints: []string{"node=nowhere"},
	}}, &orchionv1.Deployment{}); err != nil {
		t.Fatal(err)
	}
	t.Run("Go SDK", func(t *testing.T) { useOpenAI(t, client) })
	t.Run("Go SDK, errors", func(t *testing.T) { failOpenAI(t, client) })
	t.Run("Go SDK, responses", func(t *testing.T) { useResponses(t, client) })
	t.Run("Go SDK, an engine that breaks off", func(t *testing.T) {
		text, err := streamChat(t.Context(), client, breakingModel)
		if text != "half" || err == nil || !strings.Contains(err.Error(), "broke off its answer") {
			t.Errorf("it says %q, %v", text, err)
		}
		if text, err := streamChat(t.Context(), client, offlinemodel.Tiny); err != nil || text != offlinemodel.TinyText {
			t.Errorf("the next says %q, %v", text, err)
		}
	})
	t.Run("Go SDK, leaving", func(t *testing.T) { c.leaveOpenAI(t, client, direct) })
	t.Run("SDK for Node", func(t *testing.T) {
		runNode(t, "openai_calls.mjs", "openai",
			[]string{"OPENAI_BASE_URL=" + c.url + "/v1", "OPENAI_API_KEY=none", "ENDLESS_MODEL=" + offlinemodel.TinyLoop, "COLD_MODEL=" + coldModel, "BREAKING_MODEL=" + breakingModel},
			"usage: true", "streamed: true "+offlinemodel.TinyText,
			"tools: true "+offlinemodel.TinyText+" 1", "tools: true "+offlinemodel.TinyText+" 1",
			"embeddings: 2 true", "left: true", "broken: half APIError engine_failed true",
			"error: NotFoundError 404 model_not_found mine", "error: NotFoundError 404 model_not_found mine",
			"error: BadRequestError 400 engine_error mine", "error: BadRequestError 400 invalid_request mine",
			"error: NotFoundError 404 model_not_found mine", "error: InternalServerError 503 model_not_ready mine")
		c.nothingInFlight()
	})
	// This Ollama has no responses: it is asked for chat completions instead.
	t.Run("SDK for Node, responses", func(t *testing.T) {
		const tool = "tool: function_call " + offlinemodel.ToolName + " " + offlinemodel.ToolArguments + " " + offlinemodel.TinyText
		runNode(t, "openai_responses.mjs", "openai",
			[]string{"OPENAI_BASE_URL=" + c.url + "/v1", "OPENAI_API_KEY=none", "ENDLESS_MODEL=" + offlinemodel.TinyLoop},
			"response: completed false b "+offlinemodel.TinyText, "usage: true",
			"events: true created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done completed",
			"streamed: true "+offlinemodel.TinyText, "cut: incomplete max_output_tokens", tool, tool, "left: true",
			"error: 400 invalid_request previous_response_id", "error: 400 invalid_request tools[0].type",
			"error: 404 model_not_found model", "error: 404 response_not_found response_id")
		c.nothingInFlight()
	})
}

// breakingModel is one whose engine breaks off in the middle of its answers.
const breakingModel = "breaks"

// startBreaking starts the engine of breakingModel: a stub, since a real one does so seldom.
func startBreaking(t *testing.T) (url string) {
	t.Helper()
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"`+breakingModel+`","object":"model"}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"half"}}]}`+"\n\ndata: {\"id\":")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(stub.Close)
	return stub.URL
}

// nothingInFlight waits until the gateway has no request any more.
func (c *cluster) nothingInFlight() {
	c.t.Helper()
	c.eventually("the gateway counts nothing in flight", func() error {
		text, err := c.metric("orchion_gateway_requests_in_flight")
		if err == nil && text != "0" {
			err = fmt.Errorf("it counts %s", text)
		}
		return err
	})
}

func useOpenAI(t *testing.T, client openai.Client) {
	params := openai.ChatCompletionNewParams{
		Model: offlinemodel.Tiny, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	}
	answer, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if u := answer.Usage; u.PromptTokens == 0 || u.CompletionTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("it counts %+v", u)
	}
	counting := params
	counting.StreamOptions.IncludeUsage = openai.Bool(true)
	if streamed := accumulate(t, client, counting); streamed.Choices[0].Message.Content != offlinemodel.TinyText ||
		streamed.Usage.CompletionTokens != answer.Usage.CompletionTokens {
		t.Errorf("streamed it answers %+v, %+v", streamed.Choices, streamed.Usage)
	}

	params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
		Name: offlinemodel.ToolName, Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{}},
	})}
	for _, ask := range []func(openai.ChatCompletionNewParams) *openai.ChatCompletion{
		func(p openai.ChatCompletionNewParams) *openai.ChatCompletion {
			answer, err := client.Chat.Completions.New(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		},
		func(p openai.ChatCompletionNewParams) *openai.ChatCompletion { return accumulate(t, client, p) },
	} {
		asked := params
		call := ask(asked).Choices[0]
		if calls := call.Message.ToolCalls; call.FinishReason != "tool_calls" || len(calls) != 1 || calls[0].ID == "" ||
			calls[0].Function.Name != offlinemodel.ToolName || calls[0].Function.Arguments != offlinemodel.ToolArguments {
			t.Fatalf("it calls %+v", call)
		}
		asked.Messages = append(asked.Messages[:1:1], call.Message.ToParam(), openai.ToolMessage("here", call.Message.ToolCalls[0].ID))
		if got := ask(asked).Choices[0]; got.Message.Content != offlinemodel.TinyText || got.FinishReason != "stop" {
			t.Errorf("with the tool's result it answers %+v", got)
		}
	}

	vectors, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: offlinemodel.Tiny, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}},
	})
	if err != nil || len(vectors.Data) != 2 || len(vectors.Data[0].Embedding) < 2 || len(vectors.Data[0].Embedding) != len(vectors.Data[1].Embedding) {
		t.Errorf("embeddings are %v, %v", vectors, err)
	}
}

// useResponses has a model that has no responses of its own answer, whole and streamed, and
// call a function.
func useResponses(t *testing.T, client openai.Client) {
	params := responses.ResponseNewParams{
		Model: offlinemodel.Tiny, Instructions: openai.String("be kind"),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")},
	}
	answer, err := client.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if u := answer.Usage; answer.OutputText() != offlinemodel.TinyText || answer.Status != responses.ResponseStatusCompleted ||
		u.InputTokens == 0 || u.OutputTokens == 0 || u.TotalTokens != u.InputTokens+u.OutputTokens {
		t.Errorf("it answers %s", answer.RawJSON())
	}

	said := responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage("where are you?", responses.EasyInputMessageRoleUser)}
	params.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction(offlinemodel.ToolName, map[string]any{"type": "object", "properties": map[string]any{}}, true)}
	params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: said}
	call := lastOf(t, client, params).Output[0].AsFunctionCall()
	if call.Name != offlinemodel.ToolName || call.Arguments != offlinemodel.ToolArguments || call.CallID == "" {
		t.Fatalf("it calls %s", call.RawJSON())
	}
	result := responses.ResponseInputItemUnionParam{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{
		CallID: openai.String(call.CallID),
		Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: openai.String("here")},
	}}
	params.Input.OfInputItemList = append(said, responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name), result)
	if got := lastOf(t, client, params); got.OutputText() != offlinemodel.TinyText {
		t.Errorf("with the function's result it answers %s", got.RawJSON())
	}

	params.PreviousResponseID = openai.String(answer.ID)
	var failure *openai.Error
	if _, err := client.Responses.New(t.Context(), params); !errors.As(err, &failure) || failure.StatusCode != http.StatusBadRequest || failure.Param != "previous_response_id" {
		t.Errorf("for an answer that nobody keeps it says %v", err)
	}
}

// lastOf gives the response that a stream ends with, whose text must be that of its pieces.
func lastOf(t *testing.T, client openai.Client, params responses.ResponseNewParams) responses.Response {
	t.Helper()
	stream := client.Responses.NewStreaming(t.Context(), params)
	var text strings.Builder
	var last responses.Response
	for stream.Next() {
		event := stream.Current()
		if event.Type == "response.output_text.delta" {
			text.WriteString(event.Delta)
		}
		last = event.Response
	}
	if err := stream.Err(); err != nil || last.Status != responses.ResponseStatusCompleted || last.OutputText() != text.String() {
		t.Fatalf("the stream ends with %s after %q, %v", last.RawJSON(), text.String(), err)
	}
	return last
}

// accumulate puts a stream together as the SDK does.
func accumulate(t *testing.T, client openai.Client, params openai.ChatCompletionNewParams) *openai.ChatCompletion {
	t.Helper()
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		if !whole.AddChunk(stream.Current()) {
			t.Fatalf("%s does not belong to the stream", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil || len(whole.Choices) != 1 {
		t.Fatalf("the stream is %+v, %v", whole, err)
	}
	return &whole.ChatCompletion
}

func failOpenAI(t *testing.T, client openai.Client) {
	params := openai.ChatCompletionNewParams{
		Model: offlinemodel.Tiny, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	}
	ask := func(change func(*openai.ChatCompletionNewParams), options ...option.RequestOption) error {
		changed := params
		change(&changed)
		_, err := client.Chat.Completions.New(t.Context(), changed, append(options, option.WithHeader("X-Request-Id", "mine"))...)
		return err
	}
	nothing := func(*openai.ChatCompletionNewParams) {}
	for name, test := range map[string]struct {
		err     error
		status  int
		code    string
		message string
	}{
		"unknown model": {
			ask(func(p *openai.ChatCompletionNewParams) { p.Model = "nope" }), 404, "model_not_found", `there is "breaks", "tiny-loop:latest"`,
		},
		"bad JSON": {
			ask(nothing, option.WithRequestBody("application/json", []byte(`{"model":"tiny",]`))), 400, "invalid_request", "invalid JSON at byte 16",
		},
		"no messages": {
			ask(func(p *openai.ChatCompletionNewParams) { p.Messages = []openai.ChatCompletionMessageParamUnion{} }), 400, "engine_error", "too short",
		},
		"a model that is not ready": {
			ask(func(p *openai.ChatCompletionNewParams) { p.Model = coldModel }, option.WithHeader("X-Orchion-Timeout", "0")),
			503, "model_not_ready", "deployed but not ready",
		},
		"nodes that there are not": {
			ask(nothing, option.WithHeader("X-Orchion-Node-Labels", "room=nowhere")), 503, "no_replica_with_labels", "room=nowhere",
		},
	} {
		var failure *openai.Error
		if !errors.As(test.err, &failure) || failure.StatusCode != test.status || failure.Code != test.code ||
			!strings.Contains(failure.Message, test.message) || failure.Response.Header.Get("X-Request-Id") != "mine" {
			t.Errorf("%s: %v: %+v, want %d %s with %q", name, test.err, failure, test.status, test.code, test.message)
		}
		if failure != nil && test.status == http.StatusServiceUnavailable && failure.Response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: it does not say when to ask again", name)
		}
	}
}

// leaveOpenAI leaves a stream that would not end. That the engine answers another request
// after it shows that it has stopped: it answers one at a time.
func (c *cluster) leaveOpenAI(t *testing.T, client openai.Client, direct string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model: offlinemodel.TinyLoop, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("go")},
	})
	for range 3 {
		if !stream.Next() {
			t.Fatalf("no tokens: %v", stream.Err())
		}
	}
	if text, err := c.metric("orchion_gateway_requests_in_flight"); err != nil || text != "1" {
		t.Errorf("the gateway counts %s in flight, %v", text, err)
	}
	cancel()
	left := time.Now()
	for stream.Next() { // what was on its way
	}
	if err := stream.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ends with %v", err)
	}
	c.nothingInFlight()
	if took := time.Since(left); took > 5*time.Second {
		t.Errorf("leaving took %v", took)
	}
	if got := answerOf(t, direct, "POST /v1/completions", `{"model":"tiny-loop","prompt":"x","max_tokens":2}`); !strings.HasPrefix(got, "200 ") {
		t.Errorf("the engine answers %s", got)
	}
	if took := time.Since(left); took > 20*time.Second {
		t.Errorf("the engine was free after %v", took)
	}
	if text := c.cli("usage", "requests", "--status", "cancelled"); !strings.Contains(text, offlinemodel.TinyLoop) {
		t.Errorf("the usage is\n%s", text)
	}
}
