package anthropic

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// ErrorType is what Anthropic calls errors of an HTTP status.
func ErrorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status < http.StatusInternalServerError {
		return "invalid_request_error"
	}
	return "api_error"
}

// Error encodes an error.
func Error(status int, message, requestID string) []byte {
	body := struct {
		Type  string `json:"type"`
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
		RequestID string `json:"request_id,omitempty"`
	}{Type: "error", RequestID: requestID}
	body.Error.Type, body.Error.Message = ErrorType(status), message
	data, err := json.Marshal(body)
	if err != nil { // strings always encode
		return []byte(`{"type":"error","error":{"type":"api_error","message":"internal error"}}`)
	}
	return data
}

// ErrorEvent encodes the event that ends a stream with an error.
func ErrorEvent(status int, message string) []byte {
	return fmt.Appendf(nil, "event: error\ndata: %s\n\n", Error(status, message, ""))
}
