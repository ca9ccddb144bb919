package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/settings"
)

// everywhere is said instead of a number of copies.
const everywhere = "all"

// sizeFlags are how often a model is to be served, and on which nodes.
type sizeFlags struct {
	low, high, target int32
	inFlight, queued  int32
	idle              time.Duration
	nodes             []string
}

func (s *sizeFlags) register(f *pflag.FlagSet) {
	f.Int32Var(&s.low, "min", 0, "let the number of copies follow the demand, at least so many; with 0, the first request starts one")
	f.Int32Var(&s.high, "max", 0, "let the number of copies follow the demand, at most so many, 1 to 64")
	f.Var(settings.NewPeriod(&s.idle), "idle-timeout", "with --min or --max: how long a copy is kept that is not needed, 1s to 7d (default: 10m)")
	f.Int32Var(&s.target, "target-in-flight", 0, "with --min or --max: requests at once that one copy is there for (default: 4 with ollama, 32 otherwise)")
	f.Int32Var(&s.inFlight, "max-in-flight", 0, "requests that one copy is given at once, 1 to 100000; further ones wait (default: 8 with ollama, 256 with vllm)")
	f.Int32Var(&s.queued, "max-queued", 0, "requests that may wait for the model, 0 to 100000 (default: 256)")
	f.StringArrayVar(&s.nodes, "node", nil, "a node that it may run on, by id (repeatable; default: any)")
}

// spec is what the flags say, and the number of copies, which what names; empty:
// it was not given.
func (s *sizeFlags) spec(f *pflag.FlagSet, what, replicas string) (*orchionv1.DeploymentSpec, error) {
	spec := &orchionv1.DeploymentSpec{Nodes: s.nodes}
	given := func(flag string, value int32) *int32 {
		if !f.Changed(flag) {
			return nil
		}
		return &value
	}
	spec.MinReplicas, spec.MaxReplicas = given("min", s.low), given("max", s.high)
	spec.MaxInFlight, spec.MaxQueued = given("max-in-flight", s.inFlight), given("max-queued", s.queued)
	spec.TargetInFlight = given("target-in-flight", s.target)
	if f.Changed("idle-timeout") {
		spec.IdleTimeout = durationpb.New(s.idle)
	}
	switch replicas {
	case "":
	case everywhere:
		yes := true
		spec.Everywhere = &yes
	default:
		n, err := strconv.ParseInt(replicas, 10, 32)
		if err != nil || n < 0 || n > 64 {
			return nil, usagef("%s is %q; it must be a number from 0 to 64, or %s", what, replicas, everywhere)
		}
		number := int32(n)
		spec.Replicas = &number
	}
	return spec, nil
}

func (c *cli) modelScale() *cobra.Command {
	var size sizeFlags
	cmd := &cobra.Command{
		Use:   "scale NAME [REPLICAS|all]",
		Short: "Change how many copies serve, on which nodes, and how much each is given",
		Long: "Changes how many copies serve: a number, all (one on each node that fits), or with --min and --max a\n" +
			"number that follows the demand. Each of the three replaces what was said before.",
		Example: "  orchion model scale qwen3-0-6b 2\n  orchion model scale qwen3-0-6b all\n" +
			"  orchion model scale qwen3-0-6b --min 0 --max 3 --idle-timeout 15m",
		Args:              oneOrTwo,
		ValidArgsFunction: c.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			replicas := ""
			if len(args) > 1 {
				if replicas = args[1]; replicas == "" {
					return usagef("REPLICAS is empty; it must be a number from 0 to 64, or %s", everywhere)
				}
			}
			spec, err := size.spec(cmd.Flags(), "REPLICAS", replicas)
			if err != nil {
				return err
			}
			if proto.Equal(spec, &orchionv1.DeploymentSpec{}) {
				return usagef("say how many copies: REPLICAS, all, or --min and --max; or give another flag")
			}
			d := &orchionv1.Deployment{}
			if err := c.client().call(cmd.Context(), http.MethodPatch, "/api/deployments/"+segment(args[0]), nil,
				&orchionv1.UpdateDeploymentRequest{Spec: spec}, d); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), d, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is %s, %d wanted (%s)\n", d.GetName(), deploymentState(d), wantedReplicas(d), sizeText(d.GetSpec()))
				return err
			})
		},
	}
	size.register(cmd.Flags())
	return cmd
}

func oneOrTwo(cmd *cobra.Command, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return usagef("%s takes NAME and REPLICAS; it was given %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}

// wantedReplicas is how many copies there should be now.
func wantedReplicas(d *orchionv1.Deployment) int32 {
	if d.WantedReplicas != nil {
		return d.GetWantedReplicas()
	}
	return d.GetSpec().GetReplicas() // an older orchestrator does not say more
}

// sizeText says how often a model is to be served: "2", "0 to 3 by demand".
func sizeText(s *orchionv1.DeploymentSpec) string {
	switch {
	case s.GetEverywhere():
		return "one on each node that fits"
	case s == nil || s.MaxReplicas == nil:
		return strconv.Itoa(int(s.GetReplicas()))
	}
	text := fmt.Sprintf("%d to %d by demand", s.GetMinReplicas(), s.GetMaxReplicas())
	if idle := s.GetIdleTimeout(); idle != nil {
		text += ", kept " + idle.AsDuration().String() + " unused"
	}
	if target := s.GetTargetInFlight(); target > 0 {
		text += fmt.Sprintf(", %d requests each", target)
	}
	return text
}
