package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) modelFit() *cobra.Command {
	engine := "ollama"
	var context int64
	var parallel int32
	cmd := &cobra.Command{
		Use:   "fit MODEL",
		Short: "Show where a model could run, and how fast",
		Long: "Show how much memory a model needs, by what its files say of it, and for each node whether it has that now.\n" +
			"The model need not be deployed.",
		Example: "  orchion model fit qwen3:0.6b\n  orchion model fit llama3.3:70b --context 32768\n" +
			"  orchion model fit Qwen/Qwen3-8B --engine vllm --parallel 16",
		Args: exactly("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case engines[engine] == orchionv1.Engine_ENGINE_UNSPECIFIED:
				return usagef("--engine is %q; it must be ollama, vllm or external", engine)
			case context < 0:
				return usagef("--context is %d; it must be a number of tokens", context)
			case parallel < 0:
				return usagef("--parallel is %d; it must be a number of conversations", parallel)
			}
			query := url.Values{"engine": {engine}}
			if context > 0 {
				query.Set("context", strconv.FormatInt(context, 10))
			}
			if parallel > 0 {
				query.Set("parallel", strconv.FormatInt(int64(parallel), 10))
			}
			fit := &orchionv1.ModelFit{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/models/"+segments(args[0])+":fit", query, nil, fit); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), fit, func(w io.Writer) error { return writeFit(w, fit) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&engine, "engine", engine, "what would serve it: ollama, vllm, external")
	f.Int64Var(&context, "context", 0, "tokens of a conversation (default: what the engine begins with)")
	f.Int32Var(&parallel, "parallel", 0, "conversations at once (default 1)")
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{"ollama", "vllm", "external"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	return cmd
}

// segments escapes a name that may have slashes, which stay.
func segments(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = segment(parts[i])
	}
	return strings.Join(parts, "/")
}

// placeNames are short for a table; the reason says more.
var placeNames = map[orchionv1.ModelPlace]string{
	orchionv1.ModelPlace_MODEL_PLACE_GPU:        "on GPU",
	orchionv1.ModelPlace_MODEL_PLACE_PARTLY_GPU: "partly on GPU",
	orchionv1.ModelPlace_MODEL_PLACE_CPU:        "on CPU",
	orchionv1.ModelPlace_MODEL_PLACE_NONE:       "no",
}

func writeFit(w io.Writer, f *orchionv1.ModelFit) error {
	about := slices.DeleteFunc([]string{f.GetArchitecture(), f.GetQuantization(), billions(f.GetParameters())}, func(s string) bool { return s == "" })
	_, err := fmt.Fprintf(w, "%s (%s) needs about %s for %s of %d tokens:\n%s of weights, %s of cache, %s besides. Known from %s.\n\n",
		printable(f.GetModel()), printable(orDash(strings.Join(about, ", "))), bytesText(f.GetTotalBytes()), conversations(f.GetParallel()), f.GetContext(),
		bytesText(f.GetWeightBytes()), bytesText(f.GetCacheBytes()), bytesText(f.GetOverheadBytes()), printable(f.GetSource()))
	if err != nil {
		return err
	}
	if len(f.GetNodes()) == 0 {
		_, err := fmt.Fprintln(w, "There are no nodes.")
		return err
	}
	rows := [][]string{{"NODE", "FITS", "GPU FREE", "MEMORY FREE", "TOKENS/S", "SERVES", "WHY"}}
	for _, n := range f.GetNodes() {
		gpu, speed, serves := "-", "unknown", "no"
		if n.GetGpuTotalBytes() > 0 {
			gpu = bytesText(n.GetGpuFreeBytes()) + " of " + bytesText(n.GetGpuTotalBytes())
		}
		if n.GetTokensPerSecond() > 0 {
			speed = fmt.Sprintf("%.0f (%s)", n.GetTokensPerSecond(), n.GetSpeedSource())
		}
		if n.GetServing() {
			serves = "yes"
		}
		rows = append(rows, []string{
			n.GetNodeId(), placeNames[n.GetPlace()], gpu, bytesText(n.GetMemoryFreeBytes()) + " of " + bytesText(n.GetMemoryTotalBytes()),
			speed, serves, orDash(n.GetReason()),
		})
	}
	return table(w, rows...)
}

func conversations(n int32) string {
	if n == 1 {
		return "one conversation"
	}
	return fmt.Sprintf("%d conversations", n)
}

// billions writes a number of parameters as models' names do.
func billions(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n < 1e9:
		return fmt.Sprintf("%.0fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fB", float64(n)/1e9)
}
