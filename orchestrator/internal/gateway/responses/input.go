package responses

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// conversation is what was said, in the order and the groups of chat completions.
type conversation struct {
	messages []message
	// pictures are those that functions gave. Results are text in chat completions, so the
	// user shows them after the results.
	pictures []piece
	calls    map[string]bool // ids of the calls that there were
}

type message struct {
	role   string // system, user, assistant or tool
	pieces []piece
	calls  []functionCall
	callID string // of a tool's result
}

// piece is text or a picture.
type piece struct {
	text   string
	image  string // as a URL; empty: it is text
	detail string
}

type functionCall struct{ id, name, arguments string }

// say adds what somebody said. What one says in several messages is one, since some models'
// templates want those of the system to be one, and those of the user and the assistant to
// alternate.
func (c *conversation) say(role string, pieces []piece) {
	if len(c.pictures) > 0 {
		shown := c.pictures
		c.pictures = nil
		c.add("user", shown)
	}
	c.add(role, pieces)
}

func (c *conversation) add(role string, pieces []piece) {
	if last := len(c.messages) - 1; last >= 0 && c.messages[last].role == role {
		c.messages[last].pieces = append(c.messages[last].pieces, pieces...)
		return
	}
	c.messages = append(c.messages, message{role: role, pieces: pieces})
}

// call adds a call of a function, which is a part of what the assistant says.
func (c *conversation) call(f functionCall) {
	c.say("assistant", nil)
	last := &c.messages[len(c.messages)-1]
	last.calls = append(last.calls, f)
	if c.calls == nil {
		c.calls = make(map[string]bool)
	}
	c.calls[f.id] = true
}

func (c *conversation) result(id string, pieces []piece) {
	m := message{role: "tool", callID: id}
	for _, p := range pieces {
		if p.image == "" {
			m.pieces = append(m.pieces, p)
		} else {
			c.pictures = append(c.pictures, piece{text: fmt.Sprintf("The picture that the tool call %s gave:", id)}, p)
		}
	}
	c.messages = append(c.messages, m)
}

// end shows the pictures that nobody followed.
func (c *conversation) end() {
	if len(c.pictures) > 0 {
		c.say("user", nil)
	}
}

// rawItem is any kind of item.
type rawItem struct {
	Type      string          `json:"type"`
	ID        string          `json:"id"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments *string         `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

func (r *Request) readInput(raw json.RawMessage) error {
	if text, ok := asString(raw); ok {
		r.talk.say("user", []piece{{text: text}})
		return nil
	}
	var list []json.RawMessage
	if err := read(&list, "input", raw, "a string or a list of items"); err != nil {
		return err
	}
	if len(list) == 0 {
		return wrong("input", "must have at least one item")
	}
	for i, raw := range list {
		at := fmt.Sprintf("input[%d]", i)
		var item rawItem
		if err := read(&item, at, raw, "an item, whose type, role, call_id, name and arguments are strings"); err != nil {
			return err
		}
		if err := r.readItem(at, &item); err != nil {
			return err
		}
	}
	r.talk.end()
	return nil
}

func (r *Request) readItem(at string, item *rawItem) error {
	switch item.Type {
	case "", "message":
		if item.Type == "" && item.Role == "" && item.ID != "" {
			return noReference(at)
		}
		return r.readMessage(at, item)
	case "function_call":
		if item.CallID == "" || item.Name == "" || item.Arguments == nil {
			return wrong(at, "needs a call_id, a name and arguments")
		}
		r.talk.call(functionCall{id: item.CallID, name: item.Name, arguments: orNothing(*item.Arguments)})
		return nil
	case "function_call_output":
		if !r.talk.calls[item.CallID] {
			return wrong(at+".call_id", "is %q, and no function_call before it has it", clip(item.CallID))
		}
		pieces, err := readContent(at+".output", item.Output, "input_text", "input_image")
		if err != nil {
			return err
		}
		r.talk.result(item.CallID, pieces)
		return nil
	case "reasoning": // of an earlier answer; models are not told it again
		return nil
	case "item_reference":
		return noReference(at)
	}
	return wrong(at+".type", "is %q, want message, function_call, function_call_output or reasoning", clip(item.Type))
}

func noReference(at string) error {
	return wrong(at, "is a reference, and no items are kept here; send the item itself")
}

func (r *Request) readMessage(at string, item *rawItem) error {
	role := item.Role
	var allowed []string
	switch role {
	case "user":
		allowed = []string{"input_text", "input_image"}
	case "system", "developer":
		role, allowed = "system", []string{"input_text"}
	case "assistant":
		allowed = []string{"output_text", "refusal", "input_text"}
	default:
		return wrong(at+".role", "is %q, want user, assistant, system or developer", clip(item.Role))
	}
	pieces, err := readContent(at+".content", item.Content, allowed...)
	if err != nil {
		return err
	}
	r.talk.say(role, pieces)
	return nil
}

// orNothing gives the arguments of a function, which are an object where there are none.
func orNothing(arguments string) string {
	if arguments == "" {
		return "{}"
	}
	return arguments
}

func asString(raw json.RawMessage) (text string, ok bool) {
	if !bytes.HasPrefix(raw, []byte(`"`)) {
		return "", false
	}
	return text, json.Unmarshal(raw, &text) == nil
}

type rawPart struct {
	Type     string          `json:"type"`
	Text     *string         `json:"text"`
	Refusal  *string         `json:"refusal"`
	ImageURL string          `json:"image_url"`
	Detail   string          `json:"detail"`
	FileID   json.RawMessage `json:"file_id"`
}

// readContent reads content, a string or a list of parts of the types allowed.
func readContent(field string, raw json.RawMessage, allowed ...string) ([]piece, error) {
	if text, ok := asString(raw); ok {
		return []piece{{text: text}}, nil
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil, wrong(field, "is required")
	}
	var list []json.RawMessage
	if err := read(&list, field, raw, "a string or a list of parts"); err != nil {
		return nil, err
	}
	pieces := make([]piece, 0, len(list))
	for i, raw := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		var part rawPart
		if err := read(&part, at, raw, "a part, whose type, text, image_url and detail are strings"); err != nil {
			return nil, err
		}
		p, err := part.read(at, allowed)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}
