package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) modelPull() *cobra.Command {
	var nodes []string
	var image string
	cmd := &cobra.Command{
		Use:   "pull MODEL",
		Short: "Have nodes get a model for Ollama, without serving it",
		Long: "Have nodes get the files of a model, so that it is served quickly there later. They get it from a node\n" +
			"that serves it, or else from its registry, as long as this command runs; what has come is kept.",
		Example: "  orchion model pull qwen3:0.6b\n  orchion model pull llama3.3:70b --node rack-1 --node rack-2",
		Args:    exactly("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pull := &orchionv1.ModelPull{}
			path := "/api/models/" + segments(args[0]) + ":pull"
			if err := c.client().call(cmd.Context(), http.MethodPost, path, nil, &orchionv1.PullModelRequest{NodeIds: nodes, Image: image}, pull); err != nil {
				return err
			}
			pull, err := c.waitPulled(cmd.Context(), path, pull, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := c.show(cmd.OutOrStdout(), pull, func(w io.Writer) error { return writePull(w, pull) }); err != nil {
				return err
			}
			if failed := pulledAs(pull, orchionv1.ModelPullState_MODEL_PULL_STATE_FAILED); failed > 0 {
				return fmt.Errorf("%d of %d nodes could not get %s", failed, len(pull.GetNodes()), printable(args[0]))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&nodes, "node", nil, "a node that is to get it (repeatable; default: each that could serve it and does not)")
	f.StringVar(&image, "image", "", "Ollama's container image (default: its own)")
	return cmd
}

// waitPulled shows how far the nodes are until all of them have ended. That it asks is what
// has them go on.
func (c *cli) waitPulled(ctx context.Context, path string, pull *orchionv1.ModelPull, w io.Writer) (*orchionv1.ModelPull, error) {
	progress := newProgress(w)
	defer progress.end()
	for pulledAs(pull, orchionv1.ModelPullState_MODEL_PULL_STATE_PULLING) > 0 {
		progress.show(pullProgress(pull))
		if err := pause(ctx); err != nil {
			return nil, err
		}
		next := &orchionv1.ModelPull{}
		if err := c.client().call(ctx, http.MethodGet, path, nil, nil, next); err != nil {
			return nil, err
		}
		pull = next
	}
	return pull, nil
}

// pulledAs counts the nodes in a state.
func pulledAs(pull *orchionv1.ModelPull, state orchionv1.ModelPullState) (count int) {
	for _, n := range pull.GetNodes() {
		if n.GetState() == state {
			count++
		}
	}
	return count
}

// pullProgress is about the nodes that are not done.
func pullProgress(pull *orchionv1.ModelPull) string {
	const most = 3
	var parts []string
	for _, n := range pull.GetNodes() {
		if n.GetState() != orchionv1.ModelPullState_MODEL_PULL_STATE_PULLING {
			continue
		}
		if len(parts) == most {
			parts = append(parts, "and others")
			break
		}
		part := n.GetNodeId()
		if n.GetTotalBytes() > 0 {
			part += fmt.Sprintf(" %s %3.0f %% of %s", bar(n.GetProgressPercent()), n.GetProgressPercent(), bytesText(n.GetTotalBytes()))
		}
		if n.GetReason() != "" {
			part += ": " + n.GetReason()
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func writePull(w io.Writer, pull *orchionv1.ModelPull) error {
	rows := [][]string{{"NODE", "STATE", "SIZE", "REASON"}}
	for _, n := range pull.GetNodes() {
		size := "-"
		if n.GetTotalBytes() > 0 {
			size = bytesText(n.GetTotalBytes())
		}
		state := strings.ToLower(strings.TrimPrefix(n.GetState().String(), "MODEL_PULL_STATE_"))
		rows = append(rows, []string{n.GetNodeId(), state, size, orDash(n.GetReason())})
	}
	return table(w, rows...)
}
