package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// answerLimit bounds an answer that is read whole.
const answerLimit = 64 << 20

// client speaks the REST API.
type client struct {
	base string
	http *http.Client
}

func newClient(base string) *client {
	// No timeout for the whole request: logs and chats are streams.
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
	}
	return &client{base: strings.TrimSuffix(base, "/"), http: &http.Client{Transport: transport}}
}

const (
	// dialTimeout bounds reaching the orchestrator.
	dialTimeout = 10 * time.Second
	// requestTimeout bounds a call that is answered whole.
	requestTimeout = 30 * time.Second
)

// apiError is an error that the orchestrator answered.
type apiError struct {
	status  int
	Code    codes.Code `json:"code"`
	Message string     `json:"message"`
}

func (e *apiError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the orchestrator answered %d %s", e.status, http.StatusText(e.status))
	}
	return e.Message
}

func (e *apiError) notFound() bool { return e.status == http.StatusNotFound }

// unreachableError says that no orchestrator answered.
type unreachableError struct {
	url   string
	cause error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no orchestrator answers at %s: %v\nStart one with `orchestrator`, or name another with --url or ORCHION_URL.", e.url, e.cause)
}

func (e *unreachableError) Unwrap() error { return e.cause }

// call makes a request with body (nil: none) and reads the answer into out
// (nil: thrown away).
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, out proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var payload io.Reader
	if body != nil {
		data, err := protojson.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	response, err := c.stream(ctx, method, path, query, "application/json", payload)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return fmt.Errorf("reading the orchestrator's answer: %w", err)
	}
	if out == nil {
		return nil
	}
	// A newer orchestrator may say more than this client knows.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, out); err != nil {
		return fmt.Errorf("what answers at %s is no orchestrator, or a newer one: %w", c.base, err)
	}
	return nil
}

// stream makes a request whose answer the caller reads and closes. Answers
// other than 2xx are errors.
func (c *client) stream(ctx context.Context, method, path string, query url.Values, accept string, payload io.Reader) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	if payload != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		cause := err
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			cause = wrapped.Err
		}
		return nil, &unreachableError{url: c.base, cause: cause}
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return nil, decodeError(response.StatusCode, data)
}

// decodeError reads an error in the REST API's shape or in OpenAI's.
func decodeError(status int, data []byte) error {
	failure := &apiError{status: status}
	var openAI struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(data, failure); err == nil && failure.Message != "" {
		return failure
	}
	if err := json.Unmarshal(data, &openAI); err == nil {
		failure.Message = openAI.Error.Message
	}
	return failure
}

// segment makes a name safe as one segment of a path.
func segment(name string) string { return url.PathEscape(name) }
