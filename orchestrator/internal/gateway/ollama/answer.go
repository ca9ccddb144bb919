package ollama

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/completions"
)

// Answer puts the answer to one request back into Ollama's words. Durations are
// measured here: what OpenAI's API does not tell is how they were spent.
type Answer struct {
	path, model string
	now         func() time.Time
	began       time.Time
	first       time.Time // when the first token came; zero: not yet
	calls       []openToolCall
	reason      string
	usage       *usage
	done        bool // the engine said that its stream is over
	failed      bool // the engine told an error, and the client was told
}

func newAnswer(path, model string, now func() time.Time) *Answer {
	return &Answer{path: path, model: model, now: now, began: now()}
}

// StreamType is the media type of Ollama's streams.
func (*Answer) StreamType() string { return "application/x-ndjson" }

type usage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
}

// chunk is an answer of OpenAI's, or an event of its stream.
type chunk struct {
	Choices []struct {
		Index        int               `json:"index"`
		Message      completions.Delta `json:"message"`
		Delta        completions.Delta `json:"delta"`
		Text         string            `json:"text"`
		FinishReason string            `json:"finish_reason"`
	} `json:"choices"`
	Usage *usage          `json:"usage"`
	Error json.RawMessage `json:"error"`
	Data  []struct {
		Index     int             `json:"index"`
		Embedding json.RawMessage `json:"embedding"`
	} `json:"data"`
}

// line is an answer of Ollama's, or a line of its stream.
type line struct {
	model      string
	createdAt  time.Time
	message    *message // of a chat
	response   string   // of anything else
	thinking   string
	done       bool
	doneReason string
	metrics
}

// metrics are in the last line only. Durations are nanoseconds.
type metrics struct {
	TotalDuration      int64 `json:"total_duration,omitempty"`
	PromptEvalCount    int64 `json:"prompt_eval_count,omitempty"`
	PromptEvalDuration int64 `json:"prompt_eval_duration,omitempty"`
	EvalCount          int64 `json:"eval_count,omitempty"`
	EvalDuration       int64 `json:"eval_duration,omitempty"`
}

// encode writes a line as Ollama does, whose chats have another order.
func (l *line) encode() ([]byte, error) {
	if l.message != nil {
		return json.Marshal(struct {
			Model      string    `json:"model"`
			CreatedAt  time.Time `json:"created_at"`
			Message    *message  `json:"message"`
			DoneReason string    `json:"done_reason,omitempty"`
			Done       bool      `json:"done"`
			metrics
		}{l.model, l.createdAt, l.message, l.doneReason, l.done, l.metrics})
	}
	return json.Marshal(struct {
		Model      string    `json:"model"`
		CreatedAt  time.Time `json:"created_at"`
		Response   string    `json:"response"`
		Thinking   string    `json:"thinking,omitempty"`
		Done       bool      `json:"done"`
		DoneReason string    `json:"done_reason,omitempty"`
		metrics
	}{l.model, l.createdAt, l.response, l.thinking, l.done, l.doneReason, l.metrics})
}

func (a *Answer) line(content, thinking string, calls []toolCall) line {
	l := line{model: a.model, createdAt: a.now().UTC()}
	if a.path == Chat {
		l.message = &message{Role: "assistant", Content: content, Thinking: thinking, ToolCalls: calls}
		return l
	}
	l.response, l.thinking = content, thinking
	return l
}

// finish completes the last line.
func (a *Answer) finish(l *line) {
	now := a.now()
	l.done, l.doneReason = true, a.reason
	if a.reason == "" || a.reason == "tool_calls" || a.reason == "function_call" {
		l.doneReason = "stop"
	}
	l.TotalDuration = int64(now.Sub(a.began))
	begin := a.began
	if !a.first.IsZero() {
		l.PromptEvalDuration = int64(a.first.Sub(a.began))
		begin = a.first
	}
	l.EvalDuration = int64(now.Sub(begin))
	if a.usage != nil {
		l.PromptEvalCount, l.EvalCount = a.usage.PromptTokens, a.usage.CompletionTokens
	}
}

// Document translates a whole answer.
func (a *Answer) Document(body []byte) ([]byte, error) {
	var c chunk
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	a.usage = c.Usage
	if a.path == Embed || a.path == Embeddings {
		return a.vectors(&c)
	}
	if len(c.Choices) == 0 {
		return nil, errors.New("it has no choices")
	}
	choice := &c.Choices[0]
	a.reason = choice.FinishReason
	a.collect(&choice.Message)
	calls, err := a.toolCalls()
	if err != nil {
		return nil, err
	}
	l := a.line(choice.Message.Content+choice.Text, choice.Message.Thought(), calls)
	a.finish(&l)
	return l.encode()
}

// Event appends to dst the line that an event of the engine's stream becomes.
func (a *Answer) Event(dst, data []byte) ([]byte, error) {
	if a.failed {
		return dst, nil
	}
	if string(data) == "[DONE]" {
		a.done = true
		return dst, nil
	}
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return dst, fmt.Errorf("read an event: %w", err)
	}
	if given(c.Error) {
		a.failed = true
		return append(dst, ErrorLine(messageOf(c.Error))...), nil
	}
	if c.Usage != nil {
		a.usage = c.Usage
	}
	for i := range c.Choices {
		choice := &c.Choices[i]
		if choice.Index != 0 {
			continue
		}
		if choice.FinishReason != "" {
			a.reason = choice.FinishReason
		}
		a.collect(&choice.Delta)
		content, thinking := choice.Delta.Content+choice.Text, choice.Delta.Thought()
		if content == "" && thinking == "" {
			continue
		}
		a.begun()
		var err error
		if dst, err = appendLine(dst, a.line(content, thinking, nil)); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// End appends the last lines to dst. Its error says that the stream was cut.
func (a *Answer) End(dst []byte) ([]byte, error) {
	switch {
	case a.failed:
		return dst, nil
	case !a.done && a.reason == "":
		return dst, io.ErrUnexpectedEOF
	}
	calls, err := a.toolCalls()
	if err != nil {
		return dst, err
	}
	if len(calls) > 0 {
		if dst, err = appendLine(dst, a.line("", "", calls)); err != nil {
			return dst, err
		}
	}
	last := a.line("", "", nil)
	a.finish(&last)
	return appendLine(dst, last)
}

func (a *Answer) begun() {
	if a.first.IsZero() {
		a.first = a.now()
	}
}

// maxCalls bounds the calls of tools in one answer.
const maxCalls = 1024

// collect puts the pieces of calls together, since Ollama tells them whole.
func (a *Answer) collect(d *completions.Delta) {
	for _, piece := range d.ToolCalls {
		a.begun()
		at := slices.IndexFunc(a.calls, func(c openToolCall) bool { return c.Index == piece.Index })
		// A whole answer has no indices: there every call has a name.
		if at < 0 || (piece.Function.Name != "" && a.calls[at].Function.Name != "") {
			if len(a.calls) >= maxCalls {
				return
			}
			a.calls = append(a.calls, openToolCall{Index: piece.Index})
			at = len(a.calls) - 1
		}
		a.calls[at].Function.Name += piece.Function.Name
		a.calls[at].Function.Arguments += piece.Function.Arguments
	}
}

func (a *Answer) toolCalls() ([]toolCall, error) {
	calls := make([]toolCall, 0, len(a.calls))
	for _, c := range a.calls {
		arguments := c.Function.Arguments
		if arguments == "" {
			arguments = "{}"
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(arguments), &object); err != nil {
			return nil, fmt.Errorf("read the arguments of a call of %q: %w", c.Function.Name, err)
		}
		calls = append(calls, toolCall{Function: calledFunction{Name: c.Function.Name, Arguments: json.RawMessage(arguments)}})
	}
	return calls, nil
}

// vectors translates the answer to a request for embeddings.
func (a *Answer) vectors(c *chunk) ([]byte, error) {
	if len(c.Data) == 0 {
		return nil, errors.New("it has no data")
	}
	slices.SortStableFunc(c.Data, func(x, y struct {
		Index     int             `json:"index"`
		Embedding json.RawMessage `json:"embedding"`
	},
	) int {
		return x.Index - y.Index
	})
	all := make([]json.RawMessage, len(c.Data))
	for i, d := range c.Data {
		if len(d.Embedding) == 0 || d.Embedding[0] != '[' {
			return nil, errors.New("an embedding is not a list of numbers")
		}
		all[i] = d.Embedding
	}
	if a.path == Embeddings {
		return json.Marshal(map[string]any{"embedding": all[0]})
	}
	answer := struct {
		Model           string            `json:"model"`
		Embeddings      []json.RawMessage `json:"embeddings"`
		TotalDuration   int64             `json:"total_duration,omitempty"`
		PromptEvalCount int64             `json:"prompt_eval_count,omitempty"`
	}{Model: a.model, Embeddings: all, TotalDuration: int64(a.now().Sub(a.began))}
	if a.usage != nil {
		answer.PromptEvalCount = a.usage.PromptTokens
	}
	return json.Marshal(answer)
}

// Idled answers a request that asks nothing. reason is load or unload.
func Idled(path, model, reason string) []byte {
	a := newAnswer(path, model, time.Now)
	l := a.line("", "", nil)
	l.done, l.doneReason = true, reason
	data, err := l.encode()
	if err != nil { // plain fields always encode
		return ErrorLine("internal error")
	}
	return data
}

func appendLine(dst []byte, l line) ([]byte, error) {
	data, err := l.encode()
	if err != nil {
		return dst, fmt.Errorf("encode a line: %w", err)
	}
	return append(append(dst, data...), '\n'), nil
}

// Error gives an error in Ollama's shape.
func Error(message string) []byte {
	data, err := json.Marshal(map[string]string{"error": message})
	if err != nil { // strings always encode
		return []byte(`{"error":"internal error"}`)
	}
	return data
}

// ErrorLine ends a stream with an error.
func ErrorLine(message string) []byte { return append(Error(message), '\n') }

// messageOf reads the text of an error of OpenAI's shape.
func messageOf(raw json.RawMessage) string {
	var detail struct {
		Message string `json:"message"`
	}
	var text string
	switch {
	case json.Unmarshal(raw, &detail) == nil && detail.Message != "":
		return detail.Message
	case json.Unmarshal(raw, &text) == nil && text != "":
		return text
	}
	return "the engine failed: " + string(raw)
}
