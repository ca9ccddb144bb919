package responses

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// tool is a function that the model may call.
type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

// choice is whether the model is to call a function.
type choice struct {
	mode string // none, auto, required or function; empty: not said
	name string // of the function
}

// forces says whether there must be a call, which not every engine sees to.
func (c choice) forces() bool { return c.mode == "required" || c.mode == "function" }

func (r *Request) readTools(raw json.RawMessage) error {
	var list []json.RawMessage
	if err := read(&list, "tools", raw, "a list"); err != nil {
		return err
	}
	for i, raw := range list {
		at := fmt.Sprintf("tools[%d]", i)
		var t tool
		if err := read(&t, at, raw, "a tool, whose type, name and description are strings"); err != nil {
			return err
		}
		if string(t.Parameters) == "null" {
			t.Parameters = nil
		}
		switch {
		case t.Type != "function":
			return wrong(at+".type", "is %q, want function: this engine has no tools of its own", clip(t.Type))
		case t.Name == "":
			return wrong(at+".name", "is required")
		case len(t.Parameters) > 0 && !isObject(t.Parameters):
			return wrong(at+".parameters", "must be an object")
		}
		r.tools = append(r.tools, t)
	}
	return nil
}

func isObject(raw json.RawMessage) bool { return bytes.HasPrefix(raw, []byte("{")) }

func (r *Request) hasTool(name string) bool {
	return slices.ContainsFunc(r.tools, func(t tool) bool { return t.Name == name })
}

// readChoice is called when the tools have been read.
func (r *Request) readChoice(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	if mode, ok := asString(raw); ok {
		switch mode {
		case "none", "auto", "required":
		default:
			return wrong("tool_choice", "is %q, want none, auto, required or an object", clip(mode))
		}
		r.choice = choice{mode: mode}
		return r.checkChoice()
	}
	var object struct {
		Type  string `json:"type"`
		Name  string `json:"name"`
		Mode  string `json:"mode"`
		Tools []struct {
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := read(&object, "tool_choice", raw, "a string or an object"); err != nil {
		return err
	}
	switch object.Type {
	case "function":
		if !r.hasTool(object.Name) {
			return wrong("tool_choice.name", "is %q, and no tool has that name", clip(object.Name))
		}
		r.choice = choice{mode: "function", name: object.Name}
		return nil
	case "allowed_tools":
		// The model is shown no others, so that it calls none.
		allowed := make(map[string]bool)
		for i, t := range object.Tools {
			if t.Type != "function" || !r.hasTool(t.Name) {
				return wrong(fmt.Sprintf("tool_choice.tools[%d]", i), "is %s %q, and there is no such tool", clip(t.Type), clip(t.Name))
			}
			allowed[t.Name] = true
		}
		if object.Mode != "auto" && object.Mode != "required" {
			return wrong("tool_choice.mode", "is %q, want auto or required", clip(object.Mode))
		}
		r.tools = slices.DeleteFunc(r.tools, func(t tool) bool { return !allowed[t.Name] })
		r.choice = choice{mode: object.Mode}
		return r.checkChoice()
	}
	return wrong("tool_choice.type", "is %q, want function or allowed_tools", clip(object.Type))
}

func (r *Request) checkChoice() error {
	if r.choice.forces() && len(r.tools) == 0 {
		return wrong("tool_choice", "asks for a call, and there are no tools")
	}
	return nil
}

// format is the form that an answer is to have.
type format struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict"`
}

func (r *Request) readText(raw json.RawMessage) error {
	var text struct {
		Format    json.RawMessage `json:"format"`
		Verbosity *string         `json:"verbosity"`
	}
	if err := read(&text, "text", raw, "an object with format"); err != nil {
		return err
	}
	if v := text.Verbosity; v != nil {
		if !slices.Contains([]string{"low", "medium", "high"}, *v) {
			return wrong("text.verbosity", "is %q, want low, medium or high", clip(*v))
		}
		r.verbosity = *v
	}
	if len(text.Format) == 0 || string(text.Format) == "null" {
		return nil
	}
	var f format
	if err := read(&f, "text.format", text.Format, "an object, whose type, name and description are strings"); err != nil {
		return err
	}
	switch f.Type {
	case "text":
		return nil
	case "json_object":
	case "json_schema":
		if f.Name == "" {
			return wrong("text.format.name", "is required")
		}
		if !isObject(f.Schema) {
			return wrong("text.format.schema", "must be an object")
		}
	default:
		return wrong("text.format.type", "is %q, want text, json_object or json_schema", clip(f.Type))
	}
	r.format = &f
	return nil
}
