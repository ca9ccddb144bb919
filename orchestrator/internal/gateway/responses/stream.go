package responses

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/orchion/orchion/orchestrator/internal/gateway/completions"
)

// maxAnswer bounds what is kept of a stream, whose last event repeats all of it.
const maxAnswer = 16 << 20

var errTooLong = fmt.Errorf("it is longer than %d MiB", maxAnswer>>20)

// event is an event of a stream. Each kind has some of the fields.
type event struct {
	Type         string      `json:"type"`
	Sequence     int         `json:"sequence_number"`
	Response     *object     `json:"response,omitempty"`
	OutputIndex  *int        `json:"output_index,omitempty"`
	ItemID       string      `json:"item_id,omitempty"`
	ContentIndex *int        `json:"content_index,omitempty"`
	Item         *item       `json:"item,omitempty"`
	Part         *part       `json:"part,omitempty"`
	Name         string      `json:"name,omitempty"`
	Delta        string      `json:"delta,omitempty"`
	Text         *string     `json:"text,omitempty"`
	Refusal      *string     `json:"refusal,omitempty"`
	Arguments    *string     `json:"arguments,omitempty"`
	Logprobs     *[]struct{} `json:"logprobs,omitempty"`
}

// Event appends what an event of the engine's stream becomes.
func (a *Answer) Event(dst, data []byte) ([]byte, error) {
	if a.done {
		return dst, nil
	}
	if string(data) == "[DONE]" {
		return a.finish(dst)
	}
	c, err := completions.ReadEvent(data)
	if err != nil {
		return dst, err
	}
	a.noteUsage(&c)
	dst = a.begin(dst)
	if len(c.Choices) == 0 {
		return dst, nil
	}
	choice := &c.Choices[0]
	said := &choice.Delta
	dst = a.write(dst, typeReasoning, partReasoning, said.Thought())
	dst = a.write(dst, typeMessage, partText, said.Content)
	dst = a.write(dst, typeMessage, partRefusal, said.Refusal)
	dst, err = a.writeCalls(dst, said)
	if err != nil {
		return dst, err
	}
	if choice.FinishReason != "" {
		a.reason = choice.FinishReason
	}
	if a.size > a.limit {
		return dst, errTooLong
	}
	return dst, nil
}

// End appends what is left to say when the engine's stream is over.
func (a *Answer) End(dst []byte) ([]byte, error) {
	if a.done {
		return dst, nil
	}
	if a.reason == "" {
		return dst, io.ErrUnexpectedEOF
	}
	return a.finish(dst)
}

// Failure is what went wrong in the middle of an answer.
type Failure struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"` // there is none
}

// Fail appends what ends a stream that cannot go on: the response as far as it came, failed,
// and the event by which clients know an error.
func (a *Answer) Fail(dst []byte, f Failure) []byte {
	if a.done {
		return dst
	}
	dst = a.begin(dst)
	a.keep()
	if a.open != nil {
		a.open.Status = unfinished
	}
	a.done = true
	o := a.object(failed)
	o.Error = &failure{Code: "server_error", Message: f.Message}
	dst = a.event(dst, event{Type: "response.failed", Response: o})
	data, err := json.Marshal(struct {
		Type     string  `json:"type"`
		Sequence int     `json:"sequence_number"`
		Code     string  `json:"code"`
		Message  string  `json:"message"`
		Param    *string `json:"param"`
		Error    Failure `json:"error"` // where SDKs look for it
	}{"error", a.sequence, f.Code, f.Message, nil, f})
	if err != nil { // strings always encode
		data = []byte(`{"type":"error"}`)
	}
	return fmt.Appendf(dst, "event: error\ndata: %s\n\n", data)
}

func (a *Answer) begin(dst []byte) []byte {
	if a.begun {
		return dst
	}
	a.begun = true
	dst = a.event(dst, event{Type: "response.created", Response: a.object(inProgress)})
	return a.event(dst, event{Type: "response.in_progress", Response: a.object(inProgress)})
}

// write appends a piece of text, in an item and a part of its kinds.
func (a *Answer) write(dst []byte, itemType, partType, text string) []byte {
	if text == "" {
		return dst
	}
	a.calling = false
	if a.open == nil || a.open.Type != itemType {
		dst = a.enter(a.leave(dst), a.newItem(itemType))
	}
	if a.part == nil || a.part.Type != partType {
		dst = a.leavePart(dst)
		a.part = newPart(partType, "")
		*a.open.Content = append(*a.open.Content, a.part)
		dst = a.event(dst, a.inPart(event{Type: "response.content_part.added", Part: a.part}))
	}
	a.text.WriteString(text)
	a.size += len(text)
	e := a.inPart(event{Type: "response." + partType + ".delta", Delta: text})
	if partType == partText {
		e.Logprobs = &[]struct{}{}
	}
	return a.event(dst, e)
}

// writeCalls appends pieces of calls.
func (a *Answer) writeCalls(dst []byte, said *completions.Delta) ([]byte, error) {
	for i := range said.ToolCalls {
		call := &said.ToolCalls[i]
		if !a.calling || call.Index != a.call || call.Function.Name != "" && call.ID != "" {
			if call.Function.Name == "" {
				return dst, errors.New("a piece of a tool call came before its name, or after the next had begun")
			}
			dst = a.leave(dst)
			a.calling, a.call = true, call.Index
			// An engine that knows no such limit would call more than were asked for.
			if a.dropped = a.request.single && a.calls > 0; !a.dropped {
				a.calls++
				id := a.callID(call.ID)
				it := a.newItem(typeCall)
				it.CallID, it.Name = id, call.Function.Name
				a.size += len(id) + len(it.Name)
				dst = a.enter(dst, it)
			}
		}
		if !a.dropped {
			dst = a.argue(dst, call.Function.Arguments)
		}
	}
	return dst, nil
}

// argue appends a piece of a call's arguments.
func (a *Answer) argue(dst []byte, arguments string) []byte {
	if arguments == "" {
		return dst
	}
	a.text.WriteString(arguments)
	a.size += len(arguments)
	return a.event(dst, a.inItem(event{Type: "response.function_call_arguments.delta", Delta: arguments}))
}

// enter begins an item.
func (a *Answer) enter(dst []byte, it *item) []byte {
	a.open = it
	index := len(a.items) - 1
	return a.event(dst, event{Type: "response.output_item.added", OutputIndex: &index, Item: it})
}

// leave ends the item that is open.
func (a *Answer) leave(dst []byte) []byte {
	if a.open == nil {
		return dst
	}
	it := a.open
	if it.Type == typeCall {
		if a.text.Len() == 0 {
			dst = a.argue(dst, orNothing(""))
		}
		a.keep()
		dst = a.event(dst, a.inItem(event{Type: "response.function_call_arguments.done", Name: it.Name, Arguments: it.Arguments}))
	}
	dst = a.leavePart(dst)
	if it.Status == inProgress {
		it.Status = completed
	}
	a.open = nil
	index := len(a.items) - 1
	return a.event(dst, event{Type: "response.output_item.done", OutputIndex: &index, Item: it})
}

// leavePart ends the part that is open.
func (a *Answer) leavePart(dst []byte) []byte {
	p := a.part
	if p == nil {
		return dst
	}
	a.keep()
	e := a.inPart(event{Type: "response." + p.Type + ".done", Text: p.Text, Refusal: p.Refusal, Logprobs: p.Logprobs})
	dst = a.event(dst, e)
	dst = a.event(dst, a.inPart(event{Type: "response.content_part.done", Part: p}))
	a.part = nil
	return dst
}

// keep puts the text that has come so far where it belongs.
func (a *Answer) keep() {
	text := a.text.String()
	a.text.Reset()
	switch {
	case a.part != nil && a.part.Type == partRefusal:
		a.part.Refusal = &text
	case a.part != nil:
		a.part.Text = &text
	case a.open != nil && a.open.Type == typeCall:
		a.open.Arguments = &text
	}
}

// finish ends the stream.
func (a *Answer) finish(dst []byte) ([]byte, error) {
	if !a.begun {
		return dst, io.ErrUnexpectedEOF // [DONE], and nothing before it
	}
	status := a.status()
	if a.open != nil {
		a.open.Status = status // what was cut off is the last
	}
	dst = a.leave(dst)
	a.done = true
	return a.event(dst, event{Type: "response." + status, Response: a.object(status)}), nil
}

// inItem says that an event is about the item that is open.
func (a *Answer) inItem(e event) event {
	index := len(a.items) - 1
	e.OutputIndex, e.ItemID = &index, a.open.ID
	return e
}

// inPart says that an event is about the part that is open.
func (a *Answer) inPart(e event) event {
	index := len(*a.open.Content) - 1
	e = a.inItem(e)
	e.ContentIndex = &index
	return e
}

func (a *Answer) event(dst []byte, e event) []byte {
	e.Sequence = a.sequence
	a.sequence++
	data, err := json.Marshal(e)
	if err != nil { // what was decoded before always encodes
		data = fmt.Appendf(nil, `{"type":%q}`, e.Type)
	}
	return fmt.Appendf(dst, "event: %s\ndata: %s\n\n", e.Type, data)
}
