package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
)

// lacksPath says whether an answer tells that its engine has no such path. It can be read from
// its beginning afterwards.
func lacksPath(res *upstream.Response) bool {
	if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
		return false
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	res.Body.Unread(data)
	return err == nil && saysNoEndpoint(res.StatusCode, mediaType(res.Header.Get("Content-Type")), data)
}

// saysNoEndpoint knows how the routers of engines answer for paths that they do
// not have: Go's in plain text, FastAPI's (vLLM, SGLang) as a detail, those of
// llama-server, LM Studio and OpenAI as errors of their APIs.
func saysNoEndpoint(status int, kind string, data []byte) bool {
	if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		return false
	}
	if kind != "application/json" {
		text := strings.ToLower(strings.TrimSpace(string(data)))
		return kind == "text/html" || text == "" || text == "not found" ||
			strings.HasPrefix(text, "404 page not found") || strings.HasPrefix(text, "404 not found") ||
			strings.HasPrefix(text, "method not allowed") || strings.HasPrefix(text, "405 method not allowed")
	}
	var body struct {
		Detail json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(data, &body) == nil {
		switch string(body.Detail) {
		case `"Not Found"`, `"Method Not Allowed"`:
			return true
		}
	}
	var e apiError
	return readEngineError(data, &e) && (e.Code == "unknown_url" || e.Message == "File Not Found" ||
		strings.HasPrefix(e.Message, "Invalid URL") || strings.HasPrefix(e.Message, "Unexpected endpoint"))
}
