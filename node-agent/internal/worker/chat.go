package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// chatURL is the gateway's; the host is of no matter, because the connection leads
	// nowhere else.
	chatURL = "http://gateway/v1/chat/completions"
	// maxAnswer bounds what is read of the gateway's answer, in bytes.
	maxAnswer = 32 << 20
	// chatPatience is how long a chat waits for a model that is not ready, or for an
	// orchestrator that is away, before it fails.
	chatPatience = 10 * time.Minute
	// Bounds on the pause before a chat is tried again.
	minChatPause = time.Second
	maxChatPause = 30 * time.Second
)

// runChat asks a model through the gateway; the answer is the job's output and its log. The
// outcome means nothing when the hold has ended.
func (a *attempt) runChat(spec *orchionv1.ChatSpec) outcome {
	if a.w.cfg.GatewayClient == nil {
		return failed(errors.New("this node cannot reach the gateway"), orchionv1.FailureClass_FAILURE_CLASS_NODE)
	}
	select {
	case <-a.leaseOK:
	case <-a.work.Done():
		return a.notStarted(a.work.Err())
	}
	startedAt := time.Now()
	a.running(startedAt)
	client := a.w.cfg.GatewayClient(a.key.jobID, int(a.key.attempt))
	defer client.CloseIdleConnections()

	answer, err := a.chatUntilAnswered(client, spec)
	a.stopped()
	if a.hold.Err() != nil {
		return outcome{}
	}
	end := outcome{state: orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED, output: answer, finishedAt: time.Now()}
	if stopped, ok := a.asStopped(); ok {
		return stopped
	}
	if err != nil {
		// Another time, or on another node, the model may answer.
		return failed(err, orchionv1.FailureClass_FAILURE_CLASS_ENGINE)
	}
	// The log comes before the end, as with a container. Push only fails with the hold.
	if err := a.w.cfg.Logs.Push(a.hold, a.key.proto(), answerLog(answer, end.finishedAt)); err != nil {
		return outcome{}
	}
	return end
}

// answerLog gives an answer as the lines of a log.
func answerLog(answer string, at time.Time) session.LogSource {
	return func(_ context.Context, emit func(session.Line) error) error {
		for line := range strings.Lines(answer) {
			if err := emit(session.Line{Time: at, Text: strings.TrimSuffix(line, "\n")}); err != nil {
				return err
			}
		}
		return nil
	}
}

// notNowError says that the same question may be answered later.
type notNowError struct {
	err   error
	after time.Duration // 0: not said
}

func (e *notNowError) Error() string { return e.err.Error() }
func (e *notNowError) Unwrap() error { return e.err }

func (a *attempt) chatUntilAnswered(client *http.Client, spec *orchionv1.ChatSpec) (string, error) {
	began := time.Now()
	wait := minChatPause
	for {
		answer, err := chat(a.work, client, spec)
		var notNow *notNowError
		if err == nil || a.work.Err() != nil || !errors.As(err, &notNow) || time.Since(began) >= chatPatience {
			return answer, err
		}
		a.w.cfg.Logger.Info("the model is not ready, asking again", "job", a.key.jobID, "attempt", a.key.attempt, "error", err)
		next := min(max(notNow.after, wait), maxChatPause)
		if !pause(a.work, next) {
			return "", err
		}
		wait = min(2*wait, maxChatPause)
	}
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chatRequest struct {
	Model       string        `json:"model"`
	Messages    []chatMessage `json:"messages"`
	MaxTokens   int32         `json:"max_tokens,omitempty"`
	Temperature *float64      `json:"temperature,omitempty"`
	Stream      bool          `json:"stream"`
}

type chatResponse struct {
	Choices []struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"choices"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// chat asks once.
func chat(ctx context.Context, client *http.Client, spec *orchionv1.ChatSpec) (string, error) {
	question := chatRequest{Model: spec.GetModel(), MaxTokens: spec.GetMaxTokens(), Temperature: spec.Temperature}
	for _, m := range spec.GetMessages() {
		question.Messages = append(question.Messages, chatMessage{Role: m.GetRole(), Content: m.GetContent()})
	}
	body, err := json.Marshal(question)
	if err != nil {
		return "", fmt.Errorf("encode the chat: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, chatURL, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("ask the gateway: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", &notNowError{err: fmt.Errorf("ask the gateway: %w", err)}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return "", &notNowError{err: fmt.Errorf("read the gateway's answer: %w", err)}
	}
	if len(data) > maxAnswer {
		return "", classed(orchionv1.FailureClass_FAILURE_CLASS_INVALID, "the answer is longer than %d bytes", maxAnswer)
	}
	var answer chatResponse
	decodeErr := json.Unmarshal(data, &answer)
	if resp.StatusCode != http.StatusOK {
		return "", refusal(resp, answer)
	}
	if decodeErr != nil {
		return "", fmt.Errorf("the gateway's answer is not JSON: %w", decodeErr)
	}
	if len(answer.Choices) == 0 {
		return "", errors.New("the model's answer holds no choices")
	}
	return answer.Choices[0].Message.Content, nil
}

func refusal(resp *http.Response, answer chatResponse) error {
	err := fmt.Errorf("the gateway answers %s", resp.Status)
	if answer.Error != nil && answer.Error.Message != "" {
		err = fmt.Errorf("the gateway answers %d: %s", resp.StatusCode, answer.Error.Message)
	}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		after, convErr := strconv.Atoi(resp.Header.Get("Retry-After"))
		if convErr != nil || after < 0 {
			after = 0
		}
		return &notNowError{err: err, after: time.Duration(after) * time.Second}
	}
	if resp.StatusCode/100 == 4 {
		// No such model, or a question that it cannot be asked.
		return classed(orchionv1.FailureClass_FAILURE_CLASS_INVALID, "%w", err)
	}
	return err
}
