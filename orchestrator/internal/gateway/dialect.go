package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// endpoint is a path at which a model can be called.
type endpoint struct {
	path string // as clients call it and metrics name it
	dialect
	// understand reads a request's body as far as the gateway must. Its errors
	// are the client's mistakes: *syntaxError and *fieldError say where.
	understand func(path string, r *http.Request, body []byte) (request, error)
	// saysWhole is true when its streams always say that they are over, so that
	// one is cut that does not, whatever the engine's framing says.
	saysWhole bool
}

// dialect is an API that clients speak, as far as it tells errors.
type dialect interface {
	// writeError answers with an error.
	writeError(w http.ResponseWriter, e *apiError)
	// streamError is what ends a stream with an error. sent is the end of what
	// the client got before, which may be cut within an event.
	streamError(sent []byte, e *apiError) []byte
	// whole says whether a stream that ends with tail has come to its end. It is
	// asked where the engine's framing cannot tell, or endpoint.saysWhole.
	whole(tail []byte) bool
}

// request is what a client asked for. It belongs to one call.
type request interface {
	// asked is the name of the model that the client gave.
	asked() string
	// prepare makes what the engine of a route is sent.
	prepare(route model.Route) (prepared, *apiError)
}

// rephrasing is a request that can be put into other words for an engine that turns out not
// to have its path.
type rephrasing interface {
	// lacking is told so, and says whether there are other words; prepare gives them from then on.
	lacking(route model.Route) bool
}

// selfAnswering is a request that may be answered without an engine; then
// answerItself has done so and says true.
type selfAnswering interface {
	answerItself(g *Gateway, w http.ResponseWriter, r *http.Request, c *call) bool
}

var (
	_ selfAnswering = (*ollamaCall)(nil)
	_ selfAnswering = (*anthropicCall)(nil)
	_ rephrasing    = (*responsesCall)(nil)
)

// prepared is a request as one engine is to get it.
type prepared struct {
	path        string // below the engine's base URL
	contentType string
	body        []byte
	// answer translates what the engine answers; nil: its bytes pass through.
	answer translation
}

// translation puts an engine's answer into the words of the client's API. It
// belongs to one answer.
type translation interface {
	// document translates a whole answer.
	document(body []byte) ([]byte, error)
	// streamType is the media type of what event appends.
	streamType() string
	// event appends to dst what one event of the engine's stream, given by its
	// data, becomes; that may be nothing.
	event(dst, data []byte) ([]byte, error)
	// end appends to dst what is still to be said after the engine's last event.
	// Its error says that the engine's stream was not whole.
	end(dst []byte) ([]byte, error)
}

// failing is a translation with words of its own for a stream that breaks off.
type failing interface {
	// fail appends to dst what ends the stream then.
	fail(dst []byte, e *apiError) []byte
}

// openAI is the dialect of the paths below /v1 but those of other makers.
type openAI struct{}

func (openAI) writeError(w http.ResponseWriter, e *apiError) { writeError(w, e) }

func (openAI) streamError(sent []byte, e *apiError) []byte {
	event := fmt.Appendf(nil, "data: %s\n\n", e.body())
	if len(sent) > 0 && !bytes.HasSuffix(sent, []byte("\n\n")) {
		return append([]byte("\n\n"), event...) // what was cut off is not part of this event
	}
	return event
}

// whole looks for the last event at the beginning of a line: within JSON the same letters may
// be a model's words.
func (openAI) whole(tail []byte) bool {
	return bytes.HasPrefix(tail, []byte("data: [DONE]")) || bytes.Contains(tail, []byte("\ndata: [DONE]")) ||
		bytes.Contains(tail, []byte("\ndata:[DONE]"))
}

// responsesAPI is OpenAI's dialect for streams whose events have names.
type responsesAPI struct{ openAI }

func (responsesAPI) streamError(sent []byte, e *apiError) []byte {
	// Clients know an error by the event's name or by its key "error".
	event := fmt.Appendf(nil, "event: error\ndata: {\"type\":\"error\",\"code\":%s,\"message\":%s,\"param\":null,%s\n\n",
		quoted(e.Code), quoted(e.Message), e.body()[1:])
	if len(sent) > 0 && !bytes.HasSuffix(sent, []byte("\n\n")) {
		return append([]byte("\n\n"), event...)
	}
	return event
}

// whole looks for one of the events that end such a stream. They hold the whole
// answer, so their names may be out of sight; then only they count tokens.
func (responsesAPI) whole(tail []byte) bool {
	if !bytes.HasSuffix(tail, []byte("\n\n")) && !bytes.HasSuffix(tail, []byte("\r\n\r\n")) {
		return false
	}
	for _, sign := range []string{`"response.completed"`, `"response.incomplete"`, `"response.failed"`, `"input_tokens":`, "data: [DONE]"} {
		if bytes.Contains(tail, []byte(sign)) {
			return true
		}
	}
	return false
}

// quoted gives text as a JSON string.
func quoted(text string) []byte {
	data, err := json.Marshal(text)
	if err != nil { // strings always encode
		return []byte(`""`)
	}
	return data
}

// passing is a request whose body an engine gets as it came, but for the name of
// its model.
type passing struct {
	path        string
	contentType string
	body        []byte
	field       modelField
	// replace puts another name where the field is.
	replace func(body []byte, field modelField, name string) []byte
}

func understandJSON(path string, _ *http.Request, body []byte) (request, error) {
	field, err := findModel(body)
	if err != nil {
		return nil, err
	}
	return &passing{path: path, contentType: "application/json", body: body, field: field, replace: replaceModel}, nil
}

func (p *passing) asked() string { return p.field.Name }

// text is what the engine reads, in the client's spelling: the same conversation
// is spelled alike.
func (p *passing) text() []byte { return p.body[p.field.TextStart:p.field.TextEnd] }

func (p *passing) prepare(route model.Route) (prepared, *apiError) {
	body := p.body
	served := servedName(route, p.field.Name)
	// Ollama knows a model with its tag and without, and answers with the name it was asked by.
	known := route.Engine == engineOllama && sameModel(served, p.field.Name)
	if served != p.field.Name && !known {
		body = p.replace(body, p.field, served)
	}
	return prepared{path: p.path, contentType: p.contentType, body: body}, nil
}
