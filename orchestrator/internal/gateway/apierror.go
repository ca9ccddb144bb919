package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// apiError is an error in OpenAI's shape.
type apiError struct {
	Status     int
	Message    string
	Type       string
	Param      string        // "": null
	Code       string        // "": null
	RetryAfter time.Duration // 0: no header
}

// Types of errors, as OpenAI names them.
const (
	typeInvalidRequest = "invalid_request_error"
	typePermission     = "permission_error"
	typeRateLimit      = "rate_limit_error"
	typeServer         = "server_error"
)

type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *apiError) body() []byte {
	detail := errorDetail{Message: e.Message, Type: e.Type}
	if e.Param != "" {
		detail.Param = &e.Param
	}
	if e.Code != "" {
		detail.Code = &e.Code
	}
	data, err := json.Marshal(errorBody{Error: detail})
	if err != nil { // strings always encode
		return []byte(`{"error":{"message":"internal error","type":"server_error","param":null,"code":null}}`)
	}
	return data
}

func writeError(w http.ResponseWriter, e *apiError) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	body := e.body()
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // a client that left needs no answer
}

func errMethod(method, path, allowed string) *apiError {
	return &apiError{
		Status: http.StatusMethodNotAllowed, Type: typeInvalidRequest, Code: "method_not_allowed",
		Message: fmt.Sprintf("%s takes %s, not %s", path, allowed, method),
	}
}

func errBadRequest(err error, param string) *apiError {
	return &apiError{
		Status: http.StatusBadRequest, Type: typeInvalidRequest, Param: param, Code: "invalid_request",
		Message: err.Error(),
	}
}

// errMisunderstood tells why a request's body was not understood.
func errMisunderstood(err error) *apiError {
	var wrongField *fieldError
	if !errors.As(err, &wrongField) {
		return errBadRequest(err, "")
	}
	return errBadRequest(err, wrongField.param())
}

func errTooLarge(limit int64) *apiError {
	return &apiError{
		Status: http.StatusRequestEntityTooLarge, Type: typeInvalidRequest, Code: "request_too_large",
		Message: fmt.Sprintf("the request's body is larger than %d MiB, the most allowed", limit>>20),
	}
}

func errEncoding(encoding string) *apiError {
	return &apiError{
		Status: http.StatusUnsupportedMediaType, Type: typeInvalidRequest, Code: "unsupported_encoding",
		Message: fmt.Sprintf("Content-Encoding %q is not supported: send the body uncompressed", encoding),
	}
}

func errBusy() *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "overloaded", RetryAfter: time.Second,
		Message: "too many large requests at once; try again in a second",
	}
}

func errUnknownModel(name string, known []string) *apiError {
	message := fmt.Sprintf("the model %q does not exist; ", name)
	if len(known) == 0 {
		message += "no model is deployed yet: deploy one with \"orchion model deploy\" or POST /api/deployments"
	} else {
		message += "there is " + enumerate(known)
	}
	return &apiError{
		Status: http.StatusNotFound, Type: typeInvalidRequest, Param: "model", Code: "model_not_found",
		Message: message,
	}
}

func errModelNotReady(name, progress string) *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Param: "model", Code: "model_not_ready",
		RetryAfter: 5 * time.Second,
		Message:    fmt.Sprintf("the model %q is deployed but not ready: %s", name, progress),
	}
}

func errModelNotAllowed(name string, allowed []string) *apiError {
	message := fmt.Sprintf("this job may not call the model %q; it declared ", name)
	if len(allowed) == 0 {
		message += "none in spec.container.models"
	} else {
		message += enumerate(allowed) + " in spec.container.models"
	}
	return &apiError{
		Status: http.StatusForbidden, Type: typePermission, Param: "model", Code: "model_not_allowed",
		Message: message,
	}
}

func errAttemptOver() *apiError {
	return &apiError{
		Status: http.StatusForbidden, Type: typePermission, Code: "attempt_not_running",
		Message: "this attempt of the job is over or belongs to another node now",
	}
}

func errEngine(message string) *apiError {
	return &apiError{Status: http.StatusBadGateway, Type: typeServer, Code: "engine_failed", Message: message}
}

func errEngineUnreachable(message string) *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "engine_unreachable",
		RetryAfter: 2 * time.Second, Message: message,
	}
}

// errFailing says that a model's replicas are left alone for a while.
func errFailing(name string, after time.Duration) *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "replicas_failing", RetryAfter: after,
		Message: fmt.Sprintf("every replica of the model %q failed lately; one is tried again in %s", name, after.Round(100*time.Millisecond)),
	}
}

func errNoSuchPlace(name string, e *routing.LabelsError) *apiError {
	message := fmt.Sprintf("no replica of the model %q is on a node with labels %s, as %s asks; ", name, e.Wanted, headerNodeLabels)
	if len(e.There) == 0 {
		message += "the nodes that serve it have no labels"
	} else {
		message += "the nodes that serve it have " + enumerate(e.There)
	}
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Param: headerNodeLabels, Code: "no_replica_with_labels",
		RetryAfter: 5 * time.Second, Message: message,
	}
}

func errEngineTimeout(after time.Duration) *apiError {
	return &apiError{
		Status: http.StatusGatewayTimeout, Type: typeServer, Code: "engine_timeout",
		Message: fmt.Sprintf("the engine did not begin to answer within %s", after),
	}
}

func errNoEndpoint(route model.Route, path string) *apiError {
	return &apiError{
		Status: http.StatusNotFound, Type: typeInvalidRequest, Code: "endpoint_not_supported",
		Message: fmt.Sprintf("the engine %s on node %s, which serves the model %q, has no %s",
			cmp.Or(route.Engine, "there"), route.NodeID, route.Model, path),
	}
}

func errNotAnAPI(route model.Route, kind string) *apiError {
	return errEngine(fmt.Sprintf("the engine on node %s answered %s, as a web site does", route.NodeID, kind))
}

// maxEnumerated bounds the names in an error's message.
const maxEnumerated = 20

func enumerate(names []string) string {
	more := ""
	if n := len(names) - maxEnumerated; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
		names = names[:maxEnumerated]
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return strings.Join(quoted, ", ") + more
}
