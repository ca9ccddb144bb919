package ollama

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// message is one of Ollama's.
type message struct {
	Role      string     `json:"role"`
	Content   string     `json:"content"`
	Thinking  string     `json:"thinking,omitempty"`
	Images    []string   `json:"images,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
	ToolName  string     `json:"tool_name,omitempty"`
}

type toolCall struct {
	Function calledFunction `json:"function"`
}

type calledFunction struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// openMessage is one of OpenAI's.
type openMessage struct {
	Role       string         `json:"role"`
	Content    any            `json:"content"` // a text, or parts
	ToolCalls  []openToolCall `json:"tool_calls,omitempty"`
	ToolCallID string         `json:"tool_call_id,omitempty"`
}

type openToolCall struct {
	Index    int          `json:"-"`
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function openFunction `json:"function"`
}

type openFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON
}

type part struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	ImageURL *imageURL `json:"image_url,omitempty"`
}

type imageURL struct {
	URL string `json:"url"`
}

// openMessages translates a conversation. OpenAI's calls of tools have ids,
// which Ollama's have not: they are numbered, and answers belong to the first
// call that has none yet, of the tool that is named if one is.
func openMessages(messages []message) ([]openMessage, error) {
	type waiting struct{ id, name string }
	var unanswered []waiting
	calls := 0
	out := make([]openMessage, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		field := fmt.Sprintf("messages[%d]", i)
		role := strings.ToLower(m.Role)
		switch role {
		case "system", "user", "assistant", "tool":
		default:
			return nil, badField(field+".role", "is %q; allowed are system, user, assistant and tool", m.Role)
		}
		content, err := contentOf(m.Content, m.Images, field+".")
		if err != nil {
			return nil, err
		}
		translated := openMessage{Role: role, Content: content}
		for n, call := range m.ToolCalls {
			arguments := bytes.TrimSpace(call.Function.Arguments)
			if !given(arguments) {
				arguments = []byte("{}")
			}
			if arguments[0] != '{' {
				return nil, badField(fmt.Sprintf("%s.tool_calls[%d].function.arguments", field, n), "must be an object")
			}
			id := "call_" + strconv.Itoa(calls)
			calls++
			unanswered = append(unanswered, waiting{id, call.Function.Name})
			translated.ToolCalls = append(translated.ToolCalls, openToolCall{
				ID: id, Type: "function", Function: openFunction{Name: call.Function.Name, Arguments: string(arguments)},
			})
		}
		if role == "tool" {
			at := slices.IndexFunc(unanswered, func(w waiting) bool { return m.ToolName == "" || w.name == m.ToolName })
			if at >= 0 {
				translated.ToolCallID = unanswered[at].id
				unanswered = slices.Delete(unanswered, at, at+1)
			} else { // its call is not part of the conversation any more
				translated.ToolCallID = "call_" + strconv.Itoa(calls)
				calls++
			}
		}
		out = append(out, translated)
	}
	return out, nil
}

// contentOf gives a text, with images beside it as parts. at is what comes
// before the field's name in an error.
func contentOf(text string, images []string, at string) (any, error) {
	if len(images) == 0 {
		return text, nil
	}
	var parts []part
	if text != "" {
		parts = append(parts, part{Type: "text", Text: text})
	}
	for i, encoded := range images {
		field := fmt.Sprintf("%simages[%d]", at, i)
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, badField(field, "is not base64: %v", err)
		}
		kind := http.DetectContentType(data)
		if !strings.HasPrefix(kind, "image/") {
			return nil, badField(field, "is not a picture that can be recognised (JPEG, PNG, GIF, WebP or BMP)")
		}
		parts = append(parts, part{Type: "image_url", ImageURL: &imageURL{URL: "data:" + kind + ";base64," + encoded}})
	}
	return parts, nil
}
