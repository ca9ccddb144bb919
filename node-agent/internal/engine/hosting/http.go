package hosting

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an engine's answer.
const maxAnswer = 4 << 20

// NewClient makes the client for engines on this machine: no proxy, no redirects to
// elsewhere. The caller closes its idle connections.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// StatusError is an answer with a status other than 200.
type StatusError struct {
	Code int
	// Message is what the body says: its "error", or its beginning.
	Message string
}

// Error implements error.
func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Code, e.Message) }

// Do sends a request to an engine and returns its answer with status 200; any other is a
// *StatusError. The caller closes the body.
func Do(ctx context.Context, client *http.Client, method, url string, body any) (*http.Response, error) {
	var reader io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = strings.NewReader(string(data))
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return nil, err
	}
	return nil, &StatusError{Code: resp.StatusCode, Message: errorText(text)}
}

// errorText finds the message in an error's body: {"error": "..."} of Ollama,
// {"error": {"message": "..."}} of OpenAI, {"message": "..."} of older vLLM.
func errorText(body []byte) string {
	var shape struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(body, &shape) == nil {
		var text string
		if json.Unmarshal(shape.Error, &text) == nil && text != "" {
			return text
		}
		var nested struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(shape.Error, &nested) == nil && nested.Message != "" {
			return nested.Message
		}
		if shape.Message != "" {
			return shape.Message
		}
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(body[:min(len(body), 300)])), "?")
}

// GetJSON decodes the answer to a GET into v.
func GetJSON(ctx context.Context, client *http.Client, url string, v any) error {
	resp, err := Do(ctx, client, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v)
}

// PostJSON sends body and drops the answer, which must be 200.
func PostJSON(ctx context.Context, client *http.Client, url string, body any) error {
	resp, err := Do(ctx, client, http.MethodPost, url, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return err
}
