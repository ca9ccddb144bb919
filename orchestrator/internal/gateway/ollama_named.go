package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// maxNamed is the most bytes in a request that readNamed reads.
const maxNamed = 1 << 20

// readNamed reads a request to one of Ollama's endpoints that are about a model
// and do not run it. false: the client was told what is wrong; else release must be called
// when the body is needed no more.
func (g *Gateway) readNamed(w http.ResponseWriter, r *http.Request, options any) (body []byte, field modelField, release func(), ok bool) {
	body, release, failure := g.readBody(w, r)
	if failure != nil {
		ollamaAPI{}.writeError(w, failure)
		return nil, field, nil, false
	}
	defer func() {
		if !ok {
			release()
		}
	}()
	if len(body) > maxNamed {
		ollamaAPI{}.writeError(w, errTooLarge(maxNamed))
		return nil, field, release, false
	}
	field, err := findNamed(body)
	if err == nil && options != nil {
		err = decodeOptions(body, options)
	}
	if err != nil {
		ollamaAPI{}.writeError(w, errMisunderstood(err))
		return nil, field, release, false
	}
	if failure := g.mayCall(r.Context(), field.Name); failure != nil {
		ollamaAPI{}.writeError(w, failure)
		return nil, field, release, false
	}
	return body, field, release, true
}

func decodeOptions(body []byte, options any) error {
	if err := json.Unmarshal(body, options); err != nil {
		return &fieldError{What: fmt.Sprintf("the request is wrong: %v", err), Field: "body"}
	}
	return nil
}

// findNamed checks that body is one JSON object and finds the model it names:
// in "model" or, as older clients write it, in "name".
func findNamed(body []byte) (modelField, error) {
	s := scanner{data: body}
	s.skipSpace()
	if s.peek() != '{' {
		return modelField{}, s.fail("the body must be a JSON object")
	}
	found := map[string]modelField{}
	err := s.object(0, func(key []byte) error {
		decoded, err := decodeKey(key)
		if err != nil {
			return s.fail("%v", err)
		}
		name := string(decoded)
		spelled := strings.ToLower(name)
		if spelled != "model" && spelled != "name" {
			return s.value(1)
		}
		if _, seen := found[spelled]; seen || name != spelled {
			return &fieldError{What: fmt.Sprintf("%s must be given once, spelled so", spelled)}
		}
		field := modelField{Start: s.pos}
		if s.peek() != '"' {
			if err := s.value(1); err != nil {
				return err
			}
			return &fieldError{What: spelled + " must be a string"}
		}
		if err := s.str(); err != nil {
			return err
		}
		field.End = s.pos
		if err := json.Unmarshal(body[field.Start:field.End], &field.Name); err != nil {
			return s.fail("%v", err)
		}
		found[spelled] = field
		return nil
	})
	if err != nil {
		return modelField{}, err
	}
	s.skipSpace()
	if s.pos < len(body) {
		return modelField{}, s.fail("something follows the JSON object")
	}
	field := found["model"]
	if field.Name == "" {
		field = found["name"]
	}
	switch {
	case field.Name == "":
		return modelField{}, &fieldError{What: "model is missing"}
	case len(field.Name) > maxModelName || strings.ContainsFunc(field.Name, isControl):
		return modelField{}, &fieldError{What: fmt.Sprintf("model must be at most %d characters without control characters", maxModelName)}
	}
	return field, nil
}
