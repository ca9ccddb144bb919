//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// kind is what sort of answer is asked for.
type kind string

// The kinds.
const (
	streamed   kind = "streamed"
	small      kind = "small"
	large      kind = "large" // more than the gateway holds back
	plainSmall      = 2 << 10
	plainLarge      = 1 << 20
)

// outcome is what a client made of an answer.
type outcome string

// The outcomes. Only the last is a violation by itself.
const (
	whole   outcome = "whole"
	refused outcome = "refused" // an error's status, with a message
	errored outcome = "errored" // the beginning, and then an event with an error
	broken  outcome = "broken"  // the connection broke, which a client cannot take for an end
	wrong   outcome = "wrong"   // anything else
)

// result is an outcome and its circumstances.
type result struct {
	outcome outcome
	detail  string
	node    string // that answered, as the gateway says
	took    time.Duration
}

func (r result) String() string { return fmt.Sprintf("%s after %v (%s)", r.outcome, r.took, r.detail) }

// answerLimit is how long any answer may take that nobody holds up for longer.
const answerLimit = 30 * time.Second

// ask asks through the gateway. On labels, when not empty, the machine must be.
func (c *cluster) ask(ctx context.Context, q question, k kind, labels string) result {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	r := c.exchange(ctx, q, k, labels)
	r.took = time.Since(begun).Round(time.Millisecond)
	return r
}

func (c *cluster) exchange(ctx context.Context, q question, k kind, labels string) result {
	switch k {
	case small:
		q.size = plainSmall
	case large:
		q.size = plainLarge
	case streamed:
	}
	body := fmt.Sprintf(`{"model":%q,"user":%q,"stream":%t,"messages":[{"role":"user","content":"go on"}]}`, modelName, q, k == streamed)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return result{outcome: wrong, detail: err.Error()}
	}
	request.GetBody = nil // an answer that breaks off must be seen, not asked for again
	request.Header.Set("Content-Type", "application/json")
	if labels != "" {
		request.Header.Set("X-Orchion-Node-Labels", labels)
	}
	response, err := c.gateway.Do(request)
	if err != nil {
		return brokenOr(ctx, err)
	}
	defer response.Body.Close()
	r := result{node: response.Header.Get("X-Orchion-Node")}
	if response.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		if err != nil {
			return brokenOr(ctx, err)
		}
		r.outcome, r.detail = judgeRefusal(response.StatusCode, data)
		return r
	}
	if k == streamed {
		var transport error
		r.outcome, r.detail, transport = judgeStream(q.id, response.Body)
		if transport != nil {
			return brokenOr(ctx, transport)
		}
		return r
	}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return brokenOr(ctx, err)
	}
	r.outcome, r.detail = judgePlain(q, data)
	return r
}

// brokenOr is an error of the connection, if it was not too late for one.
func brokenOr(ctx context.Context, err error) result {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return result{outcome: wrong, detail: fmt.Sprintf("no end within %v", answerLimit)}
	}
	return result{outcome: broken, detail: err.Error()}
}

func judgeRefusal(status int, body []byte) (outcome, string) {
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if status < 400 || json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		return wrong, fmt.Sprintf("status %d with %.200q, which says no error", status, body)
	}
	return refused, fmt.Sprintf("%d %s", status, e.Error.Message)
}

func judgePlain(q question, body []byte) (outcome, string) {
	var a struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return wrong, fmt.Sprintf("%d bytes that are no JSON: %v", len(body), err)
	}
	if len(a.Choices) != 1 || a.Choices[0].Message.Content != plainOf(q.id, q.size) {
		return wrong, "not the answer to the question"
	}
	return whole, ""
}

// judgeStream reads a streamed answer. The error is the connection's.
func judgeStream(id string, body io.Reader) (outcome, string, error) {
	next, done, failed := 0, false, ""
	for in := bufio.NewReader(body); ; {
		line, err := in.ReadBytes('\n')
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return broken, "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		data, isData := bytes.CutPrefix(line, []byte("data: "))
		switch {
		case end && done:
			return whole, "", nil
		case end && failed != "":
			return errored, fmt.Sprintf("%d tokens, then %s", next, failed), nil
		case end:
			return wrong, fmt.Sprintf("it ended after %d tokens without saying so, with %q", next, line), nil
		case len(line) == 0 || line[0] == ':' || bytes.HasPrefix(line, []byte("event:")):
		case !isData:
			return wrong, fmt.Sprintf("a line %q", line), nil
		case done || failed != "":
			return wrong, fmt.Sprintf("%q after the end", line), nil
		case string(data) == "[DONE]":
			if next != streamTokens {
				return wrong, fmt.Sprintf("[DONE] after %d tokens", next), nil
			}
			done = true
		default:
			var e struct {
				Error *struct {
					Message string `json:"message"`
				} `json:"error"`
				Choices []struct {
					Delta struct {
						Content string `json:"content"`
					} `json:"delta"`
				} `json:"choices"`
			}
			if !json.Valid(data) {
				// Half an event, as the engine left it: the error must follow.
				if bytes.Contains(data, []byte("data: ")) {
					return wrong, fmt.Sprintf("two events in one line %q", data), nil
				}
				if _, err := in.Peek(1); errors.Is(err, io.EOF) {
					return wrong, fmt.Sprintf("it ended with half an event %q", data), nil
				}
				continue
			}
			_ = json.Unmarshal(data, &e) // what does not fit is nothing of what follows
			switch {
			case e.Error != nil && e.Error.Message != "":
				failed = e.Error.Message
			case len(e.Choices) == 1 && e.Choices[0].Delta.Content == tokenOf(id, next):
				next++
			default:
				return wrong, fmt.Sprintf("%q instead of token %d", data, next), nil
			}
		}
	}
}
