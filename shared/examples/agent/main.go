// Command agent is a small AI agent to run as an Orchion job: it is given a
// task, calls the model it was granted through the gateway, runs the tools the
// model asks for, and ends when the model has an answer.
//
// It knows nothing of Orchion: the OpenAI SDK reads OPENAI_BASE_URL and
// OPENAI_API_KEY, which Orchion puts into the environment of every job that
// declares models. Any agent that speaks OpenAI's API runs the same way.
//
//	agent [TASK]      the task also from AGENT_TASK
//
// Environment: AGENT_MODEL (required) names the model, AGENT_MAX_STEPS bounds
// the loop (default 8). The answer is the last line on stdout; the steps on the
// way are on stderr. Exit status: 0 answered, 1 failed, 2 wrong use.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openai/openai-go/v3"
)

const defaultTask = "Which machine are you running on, and how much memory does it have? Use your tools, then answer in one sentence."

const instructions = "You are an agent that runs on one of its owner's machines. " +
	"Use the tools to find out what you do not know. When you know enough, answer shortly and in plain text."

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	model := os.Getenv("AGENT_MODEL")
	if model == "" {
		fmt.Fprintln(os.Stderr, "agent: AGENT_MODEL is not set; name one of the models that the job declares")
		return 2
	}
	maxSteps, err := strconv.Atoi(cmp.Or(os.Getenv("AGENT_MAX_STEPS"), "8"))
	if err != nil || maxSteps < 1 || maxSteps > 100 {
		fmt.Fprintf(os.Stderr, "agent: AGENT_MAX_STEPS is %q; it must be a number from 1 to 100\n", os.Getenv("AGENT_MAX_STEPS"))
		return 2
	}
	task := cmp.Or(strings.Join(args, " "), os.Getenv("AGENT_TASK"), defaultTask)

	a := &agent{client: openai.NewClient(), model: model, maxSteps: maxSteps, tools: builtinTools()}
	answer, err := a.solve(ctx, task)
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		return 1
	}
	fmt.Println(answer)
	return 0
}

// agent is the loop around one model.
type agent struct {
	client   openai.Client
	model    string
	maxSteps int
	tools    []tool
}

var errNoAnswer = errors.New("no answer")

// solve lets the model use the tools until it answers.
func (a *agent) solve(ctx context.Context, task string) (string, error) {
	log("task: %s", task)
	params := openai.ChatCompletionNewParams{
		Model: a.model,
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage(instructions),
			openai.UserMessage(task),
		},
	}
	for _, t := range a.tools {
		params.Tools = append(params.Tools, openai.ChatCompletionFunctionTool(t.definition))
	}
	for step := 1; step <= a.maxSteps; step++ {
		began := time.Now()
		completion, err := a.client.Chat.Completions.New(ctx, params)
		if err != nil {
			return "", fmt.Errorf("step %d: %w", step, withMessage(err))
		}
		if len(completion.Choices) == 0 {
			return "", fmt.Errorf("step %d: %w: the model sent no choice", step, errNoAnswer)
		}
		message := completion.Choices[0].Message
		log("step %d: the model took %v and %d tokens", step, time.Since(began).Round(time.Millisecond), completion.Usage.TotalTokens)
		if len(message.ToolCalls) == 0 {
			return withoutThoughts(message.Content), nil
		}
		params.Messages = append(params.Messages, message.ToParam())
		for _, call := range message.ToolCalls {
			result := a.call(call.Function.Name, call.Function.Arguments)
			log("tool %s(%s) = %s", call.Function.Name, call.Function.Arguments, result)
			params.Messages = append(params.Messages, openai.ToolMessage(result, call.ID))
		}
	}
	return "", fmt.Errorf("%w after %d steps; raise AGENT_MAX_STEPS", errNoAnswer, a.maxSteps)
}

// withMessage adds what the far side says, which the SDK keeps apart from its
// error's text.
func withMessage(err error) error {
	var failure *openai.Error
	if errors.As(err, &failure) && failure.Message != "" {
		return fmt.Errorf("%w: %s", err, failure.Message)
	}
	return err
}

// call runs a tool. What goes wrong is told to the model, which may then try
// something else.
func (a *agent) call(name, arguments string) string {
	for _, t := range a.tools {
		if t.definition.Name != name {
			continue
		}
		result, err := t.run(arguments)
		if err != nil {
			return "error: " + err.Error()
		}
		return result
	}
	return fmt.Sprintf("error: there is no tool %q", name)
}

// withoutThoughts leaves out what reasoning models think aloud.
func withoutThoughts(content string) string {
	if _, answer, ok := strings.Cut(content, "</think>"); ok {
		content = answer
	}
	return strings.TrimSpace(content)
}

func log(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
