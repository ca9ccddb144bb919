package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) modelCommand() *cobra.Command {
	return group("model", "Deploy models and look after them", []string{"models", "deployment"},
		c.modelDeploy(), c.modelList(), c.modelShow(), c.modelPs(), c.modelQueues(), c.modelRoutes(), c.modelLogs(), c.modelFit(), c.modelPull(), c.modelScale(), c.modelRemove())
}

var engines = map[string]orchionv1.Engine{
	"ollama":   orchionv1.Engine_ENGINE_OLLAMA,
	"vllm":     orchionv1.Engine_ENGINE_VLLM,
	"external": orchionv1.Engine_ENGINE_EXTERNAL,
}

func (c *cli) modelDeploy() *cobra.Command {
	var engine, name, image, memory, gpuMemory, replicas string
	var gpus int32
	var size sizeFlags
	var ollama ollamaFlags
	var args, constraints, tolerations, labels []string
	var detach bool
	cmd := &cobra.Command{
		Use:   "deploy MODEL",
		Short: "Serve a model, and wait until it is ready",
		Example: "  orchion model deploy qwen3:0.6b\n" +
			"  orchion model deploy Qwen/Qwen3-8B --engine vllm --gpus 1 --arg --max-model-len=8192\n" +
			"  orchion model deploy llama3.2 --replicas 2 --constraint 'label.room=office' --detach\n" +
			"  orchion model deploy llama3.2 --min 0 --max 3 --idle-timeout 15m\n" +
			"  orchion model deploy nomic-embed-text --replicas all\n" +
			"  orchion model deploy qwen3:8b --context-length 32768 --num-parallel 2\n" +
			"  orchion model deploy helper --modelfile ./Modelfile",
		Args: exactly("MODEL"),
		RunE: func(cmd *cobra.Command, positional []string) error {
			kind, ok := engines[engine]
			if !ok {
				return usagef("--engine is %q; it must be ollama, vllm or external", engine)
			}
			labelMap, err := keyValues("label", labels)
			if err != nil {
				return err
			}
			resources := &orchionv1.Resources{Gpus: gpus}
			if resources.MemoryBytes, err = parseSize("memory", memory); err != nil {
				return err
			}
			if resources.GpuMemoryBytes, err = parseSize("gpu-memory", gpuMemory); err != nil {
				return err
			}
			spec, err := size.spec(cmd.Flags(), "--replicas", replicas)
			if err != nil {
				return err
			}
			spec.Model, spec.Engine, spec.Image, spec.Args = positional[0], kind, image, args
			spec.Constraints, spec.Tolerations, spec.Resources = constraints, tolerations, resources
			if spec.Ollama, err = ollama.settings(cmd.Flags(), cmd.InOrStdin()); err != nil {
				return err
			}
			d := &orchionv1.Deployment{}
			err = c.client().call(cmd.Context(), http.MethodPost, "/api/deployments", nil, &orchionv1.CreateDeploymentRequest{
				Name: name, Labels: labelMap, Spec: spec,
			}, d)
			if err != nil {
				return err
			}
			if !detach {
				if d, err = c.waitReady(cmd.Context(), d, cmd.ErrOrStderr()); err != nil {
					return err
				}
			}
			return c.show(cmd.OutOrStdout(), d, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is %s\n", d.GetName(), deploymentState(d))
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&engine, "engine", "ollama", "what serves it: ollama, vllm, external")
	f.StringVar(&name, "name", "", "the deployment's name (default: made from the model)")
	f.StringVar(&image, "image", "", "the engine's container image (default: the engine's own)")
	f.StringVar(&replicas, "replicas", "", "how many copies, 0 to 64, or all: one on each node that fits (default: 1)")
	size.register(f)
	ollama.register(f)
	f.StringArrayVar(&args, "arg", nil, "an argument for the engine (repeatable)")
	f.StringArrayVar(&constraints, "constraint", nil, "where it may run, such as 'gpu.memory>=16GiB' (repeatable)")
	f.StringArrayVar(&tolerations, "tolerate", nil, "a taint that does not keep it away from a node, or '*' for all (repeatable)")
	f.StringVar(&memory, "memory", "", "memory that each copy needs, such as 8GiB")
	f.Int32Var(&gpus, "gpus", 0, "GPUs that each copy needs")
	f.StringVar(&gpuMemory, "gpu-memory", "", "memory of each GPU, such as 16GiB")
	f.StringArrayVarP(&labels, "label", "l", nil, "a label, key=value (repeatable)")
	f.BoolVarP(&detach, "detach", "d", false, "do not wait until it is ready")
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{"ollama", "vllm", "external"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	return cmd
}

// waitReady shows how a deployment comes up. It answers when every wanted copy
// serves, and fails when one of them has failed.
func (c *cli) waitReady(ctx context.Context, d *orchionv1.Deployment, w io.Writer) (*orchionv1.Deployment, error) {
	progress := newProgress(w)
	defer progress.end()
	path := "/api/deployments/" + segment(d.GetName())
	for {
		latest := &orchionv1.Deployment{}
		if err := c.client().call(ctx, http.MethodGet, path, nil, nil, latest); err != nil {
			if ctx.Err() != nil {
				progress.end()
				_, _ = fmt.Fprintf(w, "It goes on; look with: orchion model show %s\n", d.GetName()) // we are leaving anyway
			}
			return nil, err
		}
		switch latest.GetState() {
		case orchionv1.DeploymentState_DEPLOYMENT_STATE_READY:
			return latest, nil
		case orchionv1.DeploymentState_DEPLOYMENT_STATE_DELETING:
			return nil, fmt.Errorf("%s is being deleted", d.GetName())
		case orchionv1.DeploymentState_DEPLOYMENT_STATE_FAILED:
			return nil, fmt.Errorf("%s failed: %s\nIt is tried again by itself; look with: orchion model show %s", d.GetName(), printable(deploymentReason(latest)), d.GetName())
		}
		progress.show(deploymentProgress(latest))
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// deploymentReason gives the most telling reason there is.
func deploymentReason(d *orchionv1.Deployment) string {
	for _, r := range d.GetReplicas() {
		if r.GetState() == orchionv1.ReplicaState_REPLICA_STATE_FAILED && r.GetReason() != "" {
			return r.GetReason()
		}
	}
	return orDash(d.GetReason())
}

// deploymentProgress sums up the copies that do not serve yet.
func deploymentProgress(d *orchionv1.Deployment) string {
	var parts []string
	for _, r := range d.GetReplicas() {
		if r.GetState() == orchionv1.ReplicaState_REPLICA_STATE_READY {
			continue
		}
		text := replicaState(r)
		if r.GetNodeId() != "" {
			text += " on " + r.GetNodeId()
		}
		if r.GetTotalBytes() > 0 && r.GetState() == orchionv1.ReplicaState_REPLICA_STATE_PULLING {
			text += fmt.Sprintf(" %s %3.0f %% of %s", bar(r.GetProgressPercent()), r.GetProgressPercent(), bytesText(r.GetTotalBytes()))
		}
		if r.GetReason() != "" {
			text += ": " + r.GetReason()
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return deploymentState(d) + ": " + orDash(d.GetReason())
	}
	return strings.Join(parts, "; ")
}

func deploymentState(d *orchionv1.Deployment) string {
	return enumText(d.GetState().String(), "DEPLOYMENT_STATE_")
}

func replicaState(r *orchionv1.Replica) string {
	return enumText(r.GetState().String(), "REPLICA_STATE_")
}

func (c *cli) modelList() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the deployed models",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := c.deployments(cmd.Context())
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				if len(list.GetDeployments()) == 0 {
					_, err := fmt.Fprintln(w, "No models yet. Deploy one: orchion model deploy qwen3:0.6b")
					return err
				}
				rows := [][]string{{"NAME", "MODEL", "ENGINE", "STATE", "READY", "NODES", "REASON"}}
				for _, d := range list.GetDeployments() {
					rows = append(rows, deploymentRow(d))
				}
				return table(w, rows...)
			})
		},
	}
}

// deployments gets all deployments.
func (c *cli) deployments(ctx context.Context) (*orchionv1.ListDeploymentsResponse, error) {
	query := url.Values{}
	list := &orchionv1.ListDeploymentsResponse{}
	err := c.pages(query, func() (string, error) {
		page := &orchionv1.ListDeploymentsResponse{}
		err := c.client().call(ctx, http.MethodGet, "/api/deployments", query, nil, page)
		list.Deployments = append(list.Deployments, page.GetDeployments()...)
		return page.GetNextPageToken(), err
	})
	return list, err
}

func deploymentRow(d *orchionv1.Deployment) []string {
	ready := 0
	var nodes []string
	for _, r := range d.GetReplicas() {
		if r.GetState() == orchionv1.ReplicaState_REPLICA_STATE_READY {
			ready++
		}
		if r.GetNodeId() != "" {
			nodes = append(nodes, r.GetNodeId())
		}
	}
	return []string{
		d.GetName(), d.GetSpec().GetModel(), enumText(d.GetSpec().GetEngine().String(), "ENGINE_"), deploymentState(d),
		fmt.Sprintf("%d/%d", ready, wantedReplicas(d)), orDash(strings.Join(nodes, ",")), orDash(d.GetReason()),
	}
}

func (c *cli) modelShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show one deployment with its copies",
		Args:              exactly("NAME"),
		ValidArgsFunction: c.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &orchionv1.Deployment{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/deployments/"+segment(args[0]), nil, nil, d); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), d, func(w io.Writer) error {
				row := deploymentRow(d)
				if err := table(w, []string{"name", row[0]}, []string{"model", row[1]}, []string{"engine", row[2]},
					[]string{"state", row[3]}, []string{"ready", row[4]}, []string{"replicas", sizeText(d.GetSpec())},
					[]string{"nodes", orDash(strings.Join(d.GetSpec().GetNodes(), ","))}, []string{"ollama", orDash(ollamaText(d.GetSpec().GetOllama()))}, []string{"reason", row[6]}); err != nil {
					return err
				}
				rows := [][]string{{"REPLICA", "NODE", "STATE", "PROGRESS", "REASON"}}
				for _, r := range d.GetReplicas() {
					state := replicaState(r)
					if r.GetOutdated() {
						state += " (outdated)"
					}
					rows = append(rows, []string{r.GetId(), orDash(r.GetNodeId()), state, strconv.FormatFloat(r.GetProgressPercent(), 'f', 0, 64) + " %", orDash(r.GetReason())})
				}
				if _, err := fmt.Fprintln(w); err != nil {
					return err
				}
				return table(w, rows...)
			})
		},
	}
}

func (c *cli) modelRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Stop serving models",
		Args:              atLeastOne("NAME"),
		ValidArgsFunction: c.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(args, func(name string) error {
				return c.client().call(cmd.Context(), http.MethodDelete, "/api/deployments/"+segment(name), nil, nil, nil)
			})
		},
	}
}

func (c *cli) completeModels(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() != "rm" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list := &orchionv1.ListDeploymentsResponse{}
	if err := c.client().call(cmd.Context(), http.MethodGet, "/api/deployments", url.Values{"pageSize": {"1000"}}, nil, list); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, d := range list.GetDeployments() {
		names = append(names, cobra.CompletionWithDesc(d.GetName(), d.GetSpec().GetModel()))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
