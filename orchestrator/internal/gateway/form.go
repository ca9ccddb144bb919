package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	// maxFormParts bounds the fields of a form.
	maxFormParts = 100
	// maxPartHeader bounds what stands before a field's value.
	maxPartHeader = 8 << 10
)

// formError says what is wrong with a form.
func formError(format string, args ...any) error {
	return fmt.Errorf("invalid form: "+format, args...)
}

func understandForm(path string, r *http.Request, body []byte) (request, error) {
	contentType := r.Header.Get("Content-Type")
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" || len(r.Header.Values("Content-Type")) > 1 {
		return nil, formError("%s takes Content-Type multipart/form-data with a boundary", path)
	}
	field, err := findFormModel(body, params["boundary"])
	if err != nil {
		return nil, err
	}
	return &passing{
		path: path, contentType: mime.FormatMediaType(kind, map[string]string{"boundary": params["boundary"]}),
		body: body, field: field, replace: replaceFormModel,
	}, nil
}

// replaceFormModel gives the form with another model in the field's place.
func replaceFormModel(body []byte, field modelField, name string) []byte {
	out := make([]byte, 0, len(body)-(field.End-field.Start)+len(name))
	out = append(out, body[:field.Start]...)
	out = append(out, name...)
	return append(out, body[field.End:]...)
}

// findFormModel finds the field "model" of a form (RFC 7578).
//
// It is strict about what separates fields, since a reader that is not could
// see other fields than we do: no text before the first boundary or after the
// last, no line that merely begins as a boundary does or ends with a bare line
// feed, no folded headers.
func findFormModel(body []byte, boundary string) (modelField, error) {
	if !validBoundary(boundary) {
		return modelField{}, formError("the boundary must be 1 to 70 characters of a-z A-Z 0-9 and '()+_,-./:=? ")
	}
	dashes := []byte("--" + boundary)
	if !bytes.HasPrefix(body, dashes) {
		return modelField{}, formError("it does not begin with its boundary")
	}
	var found modelField
	seen := false
	for pos, parts := len(dashes), 0; ; parts++ {
		last, rest, err := afterBoundary(body, pos)
		if err != nil {
			return modelField{}, err
		}
		if last {
			break
		}
		if parts == maxFormParts {
			return modelField{}, formError("it has more than %d fields", maxFormParts)
		}
		name, value, err := partHead(body, rest)
		if err != nil {
			return modelField{}, err
		}
		end, err := partEnd(body, value, dashes)
		if err != nil {
			return modelField{}, err
		}
		if strings.EqualFold(name, "model") {
			switch {
			case name != "model":
				return modelField{}, &fieldError{What: fmt.Sprintf("the field %q must be spelled \"model\"", name)}
			case seen:
				return modelField{}, &fieldError{What: "model is given twice"}
			}
			seen = true
			found = modelField{Name: string(body[value:end]), Start: value, End: end}
		}
		pos = end + len("\r\n") + len(dashes)
	}
	switch {
	case !seen:
		return modelField{}, &fieldError{What: "model is missing"}
	case found.Name == "":
		return modelField{}, &fieldError{What: "model must not be empty"}
	case len(found.Name) > maxModelName || strings.ContainsFunc(found.Name, isControl) || !utf8.ValidString(found.Name):
		return modelField{}, &fieldError{What: fmt.Sprintf("model must be at most %d characters without control characters", maxModelName)}
	}
	return found, nil
}

// validBoundary holds RFC 2046, 5.1.1.
func validBoundary(boundary string) bool {
	if boundary == "" || len(boundary) > 70 || strings.HasSuffix(boundary, " ") {
		return false
	}
	return !strings.ContainsFunc(boundary, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("'()+_,-./:=? ", r)
	})
}

// afterBoundary looks at what follows a boundary: the next field, which begins
// at rest, or the end.
func afterBoundary(body []byte, pos int) (last bool, rest int, err error) {
	switch tail := body[pos:]; {
	case bytes.HasPrefix(tail, []byte("\r\n")):
		return false, pos + len("\r\n"), nil
	case string(tail) == "--" || string(tail) == "--\r\n":
		return true, len(body), nil
	case bytes.HasPrefix(tail, []byte("--")):
		return false, 0, formError("something follows its end at byte %d", pos)
	}
	return false, 0, formError("a boundary must be followed by CR LF or --, at byte %d", pos)
}

// partHead reads a field's headers: its name, and where its value begins.
func partHead(body []byte, pos int) (name string, value int, err error) {
	window := body[pos:min(len(body), pos+maxPartHeader)]
	length := bytes.Index(window, []byte("\r\n\r\n"))
	if length < 0 {
		return "", 0, formError("the headers of the field at byte %d have no end within %d bytes", pos, maxPartHeader)
	}
	for line := range strings.SplitSeq(string(window[:length]), "\r\n") {
		key, content, ok := strings.Cut(line, ":")
		if !ok || !validHeaderName(key) || strings.ContainsFunc(line, isControl) {
			return "", 0, formError("the field at byte %d has a header that is not \"Name: value\" on one line", pos)
		}
		switch strings.ToLower(key) {
		case "content-disposition":
			kind, params, err := mime.ParseMediaType(content)
			if err != nil || kind != "form-data" || params["name"] == "" || name != "" {
				return "", 0, formError("the field at byte %d needs one header Content-Disposition: form-data; name=\"...\"", pos)
			}
			name = params["name"]
		case "content-transfer-encoding":
			return "", 0, formError("the field at byte %d has a Content-Transfer-Encoding, which forms do not have", pos)
		}
	}
	if name == "" {
		return "", 0, formError("the field at byte %d needs one header Content-Disposition: form-data; name=\"...\"", pos)
	}
	return name, pos + length + len("\r\n\r\n"), nil
}

// validHeaderName allows less than RFC 9110 and all that forms have.
func validHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// partEnd finds where a field's value ends: before CR LF and a boundary.
func partEnd(body []byte, value int, dashes []byte) (int, error) {
	for from := value; ; {
		i := bytes.Index(body[from:], dashes)
		if i < 0 {
			return 0, errors.New("invalid form: it has no end: its last boundary with -- is missing")
		}
		at := from + i
		switch {
		case at-len("\r\n") >= value && body[at-2] == '\r' && body[at-1] == '\n':
			return at - len("\r\n"), nil
		case at == value || body[at-1] == '\n' || body[at-1] == '\r':
			return 0, formError("a line at byte %d begins as the boundary does", at)
		}
		from = at + 1
	}
}
