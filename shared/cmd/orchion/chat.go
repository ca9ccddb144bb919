package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// promptLimit bounds a prompt read from stdin.
const promptLimit = 16 << 20

func (c *cli) chatCommand() *cobra.Command {
	var system string
	cmd := &cobra.Command{
		Use:   "chat MODEL [PROMPT...]",
		Short: "Ask a model; its answer is printed as it comes",
		Long:  "Asks a model through the gateway. Without a prompt the prompt is read from stdin.",
		Example: "  orchion chat qwen3:0.6b \"Why is the sky blue?\"\n" +
			"  git diff | orchion chat qwen3:0.6b --system \"Write a commit message\"",
		Args: atLeastOne("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prompt := strings.Join(args[1:], " ")
			if prompt == "" {
				if stdin, ok := cmd.InOrStdin().(*os.File); ok && isTerminal(stdin) {
					return usagef("%s needs a prompt: as arguments or on stdin", cmd.CommandPath())
				}
				data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), promptLimit))
				if err != nil {
					return fmt.Errorf("reading the prompt: %w", err)
				}
				prompt = string(data)
			}
			return c.chat(cmd.Context(), args[0], system, prompt, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&system, "system", "", "what the model is told first")
	return cmd
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chat streams one answer to w.
func (c *cli) chat(ctx context.Context, model, system, prompt string, w io.Writer) error {
	request := struct {
		Model    string        `json:"model"`
		Stream   bool          `json:"stream"`
		Messages []chatMessage `json:"messages"`
	}{Model: model, Stream: true}
	if system != "" {
		request.Messages = append(request.Messages, chatMessage{"system", system})
	}
	request.Messages = append(request.Messages, chatMessage{"user", prompt})
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	response, err := c.client().stream(ctx, http.MethodPost, "/v1/chat/completions", nil, "text/event-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	terminal := isTerminal(w)
	return readChat(response.Body, func(text string) error {
		if terminal {
			text = keepLines(text)
		}
		_, err := io.WriteString(w, text)
		return err
	})
}

// readChat hands on the text of a streamed chat completion, and a line end
// after it.
func readChat(r io.Reader, text func(string) error) error {
	events := bufio.NewScanner(r)
	events.Buffer(make([]byte, 0, 64<<10), maxLogLine)
	ended := false
	last := ""
	for events.Scan() {
		data, ok := strings.CutPrefix(events.Text(), "data:")
		if !ok {
			continue
		}
		data = strings.TrimSpace(data)
		if data == "[DONE]" {
			ended = true
			break
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return fmt.Errorf("the model's stream: %w", err)
		}
		if chunk.Error != nil {
			return fmt.Errorf("the model broke off: %s", printable(chunk.Error.Message))
		}
		for _, choice := range chunk.Choices {
			if choice.Delta.Content == "" {
				continue
			}
			last = choice.Delta.Content
			if err := text(last); err != nil {
				return err
			}
		}
	}
	if err := events.Err(); err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if !ended {
		return fmt.Errorf("the answer broke off: %w", io.ErrUnexpectedEOF)
	}
	if !strings.HasSuffix(last, "\n") {
		return text("\n")
	}
	return nil
}

// keepLines is withoutControls for text of several lines.
func keepLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = withoutControls(lines[i])
	}
	return strings.Join(lines, "\n")
}
