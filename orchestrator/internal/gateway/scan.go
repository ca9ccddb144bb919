package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a request's JSON, as encoding/json does.
const maxDepth = 10000

// modelField is where a request's body names its model.
type modelField struct {
	// Name is the decoded value.
	Name string
	// Start and End bound the value in the body, quotes included.
	Start, End int
	// TextStart and TextEnd bound what the engine reads: the value of messages,
	// input or prompt. Both are 0 when there is none.
	TextStart, TextEnd int
}

// syntaxError says where JSON is wrong.
type syntaxError struct {
	Offset int // in bytes, from 0
	What   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.What)
}

// fieldError says that a field of a well-formed request is wrong.
type fieldError struct {
	What  string
	Field string // empty: model
}

func (e *fieldError) Error() string { return e.What }

func (e *fieldError) param() string { return cmp.Or(e.Field, "model") }

// findModel checks that body is one JSON object and finds its model field in
// one pass, without decoding anything else.
//
// Engines decode with libraries that take the last of two equal keys, and some
// (Go's, so Ollama's) ignore case. A second spelling of "model" could therefore
// name another model to the engine than to us, and is refused.
func findModel(body []byte) (modelField, error) {
	s := scanner{data: body}
	s.skipSpace()
	if s.peek() != '{' {
		return modelField{}, s.fail("the body must be a JSON object")
	}
	var found modelField
	seen := false
	err := s.object(0, func(key []byte) error {
		name, err := decodeKey(key)
		if err != nil {
			return s.fail("%v", err)
		}
		if !bytes.EqualFold(name, []byte("model")) {
			from := s.pos
			if err := s.value(1); err != nil {
				return err
			}
			switch string(name) {
			case "messages", "prompt", "input":
				found.TextStart, found.TextEnd = from, s.pos
			}
			return nil
		}
		if string(name) != "model" {
			return &fieldError{What: fmt.Sprintf("the key %q must be spelled \"model\"", name)}
		}
		if seen {
			return &fieldError{What: "model is given twice"}
		}
		seen = true
		found.Start = s.pos
		if s.peek() != '"' {
			if err := s.value(1); err != nil {
				return err
			}
			return &fieldError{What: "model must be a string"}
		}
		if err := s.str(); err != nil {
			return err
		}
		found.End = s.pos
		if found.Name, err = decodeString(body[found.Start:found.End]); err != nil {
			return s.fail("%v", err)
		}
		return nil
	})
	if err != nil {
		return modelField{}, err
	}
	s.skipSpace()
	if s.pos < len(body) {
		return modelField{}, s.fail("something follows the JSON object")
	}
	switch {
	case !seen:
		return modelField{}, &fieldError{What: "model is missing"}
	case found.Name == "":
		return modelField{}, &fieldError{What: "model must not be empty"}
	case len(found.Name) > maxModelName || strings.ContainsFunc(found.Name, isControl):
		return modelField{}, &fieldError{What: fmt.Sprintf("model must be at most %d characters without control characters", maxModelName)}
	}
	return found, nil
}

// maxModelName is the most bytes in the name of a model.
const maxModelName = 512

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// decodeKey gives a key without its quotes.
func decodeKey(quoted []byte) ([]byte, error) {
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') < 0 {
		return plain, nil
	}
	name, err := decodeString(quoted)
	return []byte(name), err
}

// decodeString decodes a string that was found to be one.
func decodeString(quoted []byte) (string, error) {
	if plain := quoted[1 : len(quoted)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), nil
	}
	var text string
	err := json.Unmarshal(quoted, &text)
	return text, err
}

// replaceModel gives the body with another model in the field's place.
func replaceModel(body []byte, field modelField, name string) []byte {
	quoted, err := json.Marshal(name)
	if err != nil { // a string always encodes
		return body
	}
	out := make([]byte, 0, len(body)-(field.End-field.Start)+len(quoted))
	out = append(out, body[:field.Start]...)
	out = append(out, quoted...)
	return append(out, body[field.End:]...)
}

// scanner walks over JSON (RFC 8259) and checks it.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) fail(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if s.pos >= len(s.data) {
		what += " (the body ends here)"
	}
	return &syntaxError{Offset: s.pos, What: what}
}

// peek gives the next byte, or 0 at the end; a NUL is no JSON either way.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// object walks over an object; member is called at each value with the key, in
// quotes, and must walk over the value.
func (s *scanner) object(depth int, member func(key []byte) error) error {
	s.pos++ // the brace
	s.skipSpace()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail("expected a key in double quotes")
		}
		start := s.pos
		if err := s.str(); err != nil {
			return err
		}
		key := s.data[start:s.pos]
		s.skipSpace()
		if s.peek() != ':' {
			return s.fail("expected ':' after a key")
		}
		s.pos++
		s.skipSpace()
		if member == nil {
			if err := s.value(depth + 1); err != nil {
				return err
			}
		} else if err := member(key); err != nil {
			return err
		}
		s.skipSpace()
		switch s.peek() {
		case ',':
			s.pos++
			s.skipSpace()
		case '}':
			s.pos++
			return nil
		default:
			return s.fail("expected ',' or '}' in an object")
		}
	}
}

func (s *scanner) array(depth int) error {
	s.pos++ // the bracket
	s.skipSpace()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.skipSpace()
		switch s.peek() {
		case ',':
			s.pos++
			s.skipSpace()
		case ']':
			s.pos++
			return nil
		default:
			return s.fail("expected ',' or ']' in an array")
		}
	}
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return s.fail("nested deeper than %d", maxDepth)
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth)
	case c == '"':
		return s.str()
	case c == '-' || isDigit(c):
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.fail("expected a value")
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.fail("expected a value")
	}
	s.pos += len(word)
	return nil
}

// str walks over a string. Invalid UTF-8 is refused: engines would replace it,
// each in its own way.
func (s *scanner) str() error {
	s.pos++ // the quote
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return s.fail("a control character in a string must be escaped")
		case c < utf8.RuneSelf:
			s.pos++
		default:
			r, size := utf8.DecodeRune(s.data[s.pos:])
			if r == utf8.RuneError && size == 1 {
				return s.fail("a string is not valid UTF-8")
			}
			s.pos += size
		}
	}
	return s.fail("a string has no end")
}

func (s *scanner) escape() error {
	s.pos++ // the backslash
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			c := s.peek()
			if !isDigit(c) && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return s.fail("\\u needs four hexadecimal digits")
			}
			s.pos++
		}
		return nil
	}
	return s.fail("unknown escape in a string")
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	switch {
	case s.peek() == '0':
		s.pos++
	case isDigit(s.peek()):
		s.digits()
	default:
		return s.fail("expected a digit")
	}
	if s.peek() == '.' {
		s.pos++
		if !isDigit(s.peek()) {
			return s.fail("expected a digit after the decimal point")
		}
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !isDigit(s.peek()) {
			return s.fail("expected a digit in the exponent")
		}
		s.digits()
	}
	return nil
}

func (s *scanner) digits() {
	for isDigit(s.peek()) {
		s.pos++
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
