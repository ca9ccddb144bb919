package responses

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/completions"
)

// Answer puts the answer to one request into the words of responses.
type Answer struct {
	request *Request
	id      string
	created int64
	items   []*item
	reason  string // why the model stopped, in the words of chat completions; empty: it has not
	usage   *usage // nil: not told
	calls   int    // of functions, that the client is told of
	dropped bool   // it is not told of the last
	// Of a stream:
	begun, done bool
	sequence    int
	open        *item           // nil: none
	part        *part           // of open; nil: none
	text        strings.Builder // of the part, or of the arguments of a call
	size, limit int             // of all that was said
	calling     bool            // the last piece was of a call
	call        int             // the engine's number of that
}

// NewAnswer makes the translation of the answer to r. id, unique, becomes part of the
// response's and its items'.
func NewAnswer(r *Request, id string, now time.Time) *Answer {
	return &Answer{request: r, id: id, created: now.Unix(), items: []*item{}, limit: maxAnswer}
}

func (a *Answer) noteUsage(c *completions.Answer) {
	u := c.Usage
	if u == nil {
		return
	}
	a.usage = &usage{InputTokens: max(u.PromptTokens, 0), OutputTokens: max(u.CompletionTokens, 0)}
	a.usage.TotalTokens = a.usage.InputTokens + a.usage.OutputTokens
	a.usage.InputDetails.CachedTokens = min(max(u.PromptDetails.CachedTokens, 0), a.usage.InputTokens)
	a.usage.OutputDetails.ReasoningTokens = min(max(u.CompletionDetails.ReasoningTokens, 0), a.usage.OutputTokens)
}

// Document translates a whole answer.
func (a *Answer) Document(body []byte) ([]byte, error) {
	var c completions.Answer
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	if len(c.Choices) == 0 {
		return nil, errors.New("it has no choices")
	}
	a.noteUsage(&c)
	a.reason = c.Choices[0].FinishReason
	said := &c.Choices[0].Message
	if thought := said.Thought(); thought != "" {
		it := a.newItem(typeReasoning)
		*it.Content = append(*it.Content, newPart(partReasoning, thought))
	}
	if said.Content != "" || said.Refusal != "" {
		it := a.newItem(typeMessage)
		if said.Content != "" {
			*it.Content = append(*it.Content, newPart(partText, said.Content))
		}
		if said.Refusal != "" {
			*it.Content = append(*it.Content, newPart(partRefusal, said.Refusal))
		}
	}
	for _, call := range said.ToolCalls {
		// An engine that knows no such limit calls more than were asked for.
		if a.dropped = a.request.single && a.calls > 0; a.dropped {
			break
		}
		if call.Function.Name == "" {
			return nil, errors.New("a tool call has no name")
		}
		a.calls++
		id := a.callID(call.ID)
		it := a.newItem(typeCall)
		it.CallID, it.Name, *it.Arguments = id, call.Function.Name, orNothing(call.Function.Arguments)
	}
	for i, it := range a.items {
		it.Status = completed
		if i == len(a.items)-1 && !a.dropped {
			it.Status = a.status() // what was cut off is the last
		}
	}
	return json.Marshal(a.object(a.status()))
}
