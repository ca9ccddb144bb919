package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const capabilitiesHelp = `Finds what this machine's hardware and software can do, as the node agent tells the
orchestrator, prints it and exits. Nothing is changed and the orchestrator is not asked.`

func (p *program) capabilitiesCommand() *cobra.Command {
	output := newChoice("table", "table", "json")
	cmd := &cobra.Command{
		Use:   "capabilities",
		Short: "Print what this machine can do, and exit",
		Long:  capabilitiesHelp,
		Example: "  node-agent capabilities\n" +
			"  node-agent capabilities -o json | jq .gpus",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := p.agent(cmd)
			if err != nil {
				return err
			}
			capabilities := a.Capabilities(cmd.Context())
			if output.value == "json" {
				return printJSON(cmd.OutOrStdout(), capabilities)
			}
			return printTable(cmd.OutOrStdout(), capabilities)
		},
	}
	cmd.Flags().VarP(output, "output", "o", "how to print: "+output.list())
	return cmd
}

func printJSON(w io.Writer, c *orchionv1.Capabilities) error {
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the capabilities: %w", err)
	}
	// protojson varies its white space on purpose; scripts want it stable.
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return fmt.Errorf("encode the capabilities: %w", err)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

func printTable(w io.Writer, c *orchionv1.Capabilities) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("SYSTEM", "%s/%s, %s, kernel %s", c.GetOs(), c.GetArch(), c.GetPlatform(), c.GetKernel())
	row("CPU", "%s, %d cores, %d threads", c.GetCpu().GetModel(), c.GetCpu().GetPhysicalCores(), c.GetCpu().GetLogicalCores())
	row("MEMORY", "%s", size(c.GetMemory().GetTotalBytes()))
	row("DISK", "%s at %s", size(c.GetDisk().GetTotalBytes()), c.GetDisk().GetPath())
	for _, gpu := range c.GetGpus() {
		row("GPU", "%s %s, %s, driver %s, %s", gpu.GetVendor(), gpu.GetModel(), size(gpu.GetMemoryBytes()), gpu.GetDriverVersion(), gpu.GetUuid())
	}
	if len(c.GetGpus()) == 0 {
		row("GPU", "none found")
	}
	for _, r := range c.GetRuntimes() {
		rootless := ""
		if r.GetRootless() {
			rootless = ", rootless"
		}
		row("CONTAINERS", "%s %s%s at %s", r.GetName(), r.GetVersion(), rootless, r.GetEndpoint())
	}
	if len(c.GetRuntimes()) == 0 {
		row("CONTAINERS", "no engine answers: install Podman or Docker, or name its socket in DOCKER_HOST")
	}
	for _, p := range c.GetProcesses() {
		row("PROCESS", "%s: %s", p.GetName(), p.GetPath())
	}
	for _, r := range c.GetRegistryCredentials() {
		row("REGISTRY", "%s: credentials for %s", r.GetName(), r.GetRegistry())
	}
	for _, e := range c.GetEngines() {
		models := strings.Join(e.GetModels(), ", ")
		if models == "" {
			models = "no models"
		}
		row("ENGINE", "%s at %s: %s", strings.TrimSpace(e.GetName()+" "+e.GetVersion()), e.GetEndpoint(), models)
	}
	if len(c.GetEngines()) == 0 {
		row("ENGINE", "none serves here")
	}
	return t.Flush()
}

// size writes bytes as people read them, in powers of 1,024.
func size(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, exponent := float64(bytes)/unit, 0
	for value >= unit && exponent < 5 {
		value /= unit
		exponent++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[exponent])
}
