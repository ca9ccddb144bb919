package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) nodeCommand() *cobra.Command {
	return group("node", "Show and steer the machines", []string{"nodes"},
		c.nodeList(), c.nodeShow(), c.nodeDrain(),
		c.nodeSet("undrain", "Let drained machines take work again", &orchionv1.UndrainNodeRequest{}),
		c.nodeSet("cordon", "Let machines take no new work; all that is there stays", &orchionv1.CordonNodeRequest{}),
		c.nodeSet("uncordon", "Let cordoned machines take work again", &orchionv1.UncordonNodeRequest{}),
		c.nodeTaint(true), c.nodeTaint(false), c.nodeLabel(), c.nodeRemove())
}

func (c *cli) nodeList() *cobra.Command {
	var all bool
	var label string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the machines",
		Example: "  orchion node ls\n  orchion node ls --all --label room=office",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if all {
				query.Set("state", "all")
			}
			if label != "" {
				query.Set("label", label)
			}
			list := &orchionv1.ListNodesResponse{}
			err := c.pages(query, func() (string, error) {
				page := &orchionv1.ListNodesResponse{}
				err := c.client().call(cmd.Context(), http.MethodGet, "/api/nodes", query, nil, page)
				list.Nodes = append(list.Nodes, page.GetNodes()...)
				list.TotalSize = page.GetTotalSize()
				return page.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				if len(list.GetNodes()) == 0 {
					_, err := fmt.Fprintln(w, "No nodes yet. On each machine run: node-agent --orchestrator HOST:50051")
					return err
				}
				rows := [][]string{{"ID", "HOSTNAME", "STATE", "CORES", "MEMORY", "GPUS", "RUNTIMES", "JOBS", "SEEN"}}
				for _, n := range list.GetNodes() {
					rows = append(rows, nodeRow(n))
				}
				if err := table(w, rows...); err != nil {
					return err
				}
				return c.warnOfPause(cmd, w)
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also those that are gone")
	cmd.Flags().StringVarP(&label, "label", "l", "", "only those with these labels: key=value, key!=value or key, with commas between")
	return cmd
}

// pages calls fetch for page after page; fetch answers the next one's token.
func (c *cli) pages(query url.Values, fetch func() (string, error)) error {
	query.Set("pageSize", "1000")
	for {
		next, err := fetch()
		if err != nil || next == "" {
			return err
		}
		query.Set("pageToken", next)
	}
}

func nodeRow(n *orchionv1.Node) []string {
	capabilities := n.GetCapabilities()
	var runtimes []string
	for _, r := range capabilities.GetRuntimes() {
		runtimes = append(runtimes, r.GetName())
	}
	return []string{
		n.GetId(), n.GetHostname(), nodeState(n),
		strconv.Itoa(int(capabilities.GetCpu().GetLogicalCores())),
		bytesText(capabilities.GetMemory().GetTotalBytes()),
		strconv.Itoa(len(capabilities.GetGpus())),
		orDash(strings.Join(runtimes, ",")),
		strconv.Itoa(int(n.GetUsage().GetRunningJobs())),
		age(n.GetLastHeartbeatAt()),
	}
}

func (c *cli) nodeShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "Show one machine with all it can do",
		Args:              exactly("ID"),
		ValidArgsFunction: c.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			n := &orchionv1.Node{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/nodes/"+segment(args[0]), nil, nil, n); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), n, func(w io.Writer) error { return table(w, nodeFacts(n)...) })
		},
	}
}

func nodeFacts(n *orchionv1.Node) [][]string {
	capabilities, usage := n.GetCapabilities(), n.GetUsage()
	facts := [][]string{
		{"id", n.GetId()},
		{"hostname", n.GetHostname()},
		{"state", nodeState(n)},
		{"address", orDash(n.GetAddress())},
		{"agent", orDash(n.GetAgentVersion())},
		{"system", strings.Join([]string{capabilities.GetOs() + "/" + capabilities.GetArch(), capabilities.GetPlatform(), capabilities.GetKernel()}, ", ")},
		{"cpu", fmt.Sprintf("%s, %d cores, %d threads, %.0f %% busy", capabilities.GetCpu().GetModel(), capabilities.GetCpu().GetPhysicalCores(), capabilities.GetCpu().GetLogicalCores(), usage.GetCpuPercent())},
		{"memory", memoryText(capabilities.GetMemory().GetTotalBytes(), usage)},
		{"disk", fmt.Sprintf("%s, %s used, at %s", bytesText(capabilities.GetDisk().GetTotalBytes()), bytesText(usage.GetDiskUsedBytes()), capabilities.GetDisk().GetPath())},
	}
	facts = append(facts, drainFacts(n.GetDrain())...)
	if cool := n.GetCoolDown(); cool != nil {
		facts = append(facts, []string{"cooling down", "for " + short(time.Until(cool.GetUntil().AsTime())) + " more: " + cool.GetReason()})
	}
	for _, gpu := range capabilities.GetGpus() {
		facts = append(facts, []string{"gpu", fmt.Sprintf("%s, %s, driver %s, %s", gpu.GetModel(), bytesText(gpu.GetMemoryBytes()), orDash(gpu.GetDriverVersion()), gpu.GetUuid())})
	}
	for _, r := range capabilities.GetRuntimes() {
		facts = append(facts, []string{"runtime", fmt.Sprintf("%s %s at %s", r.GetName(), r.GetVersion(), r.GetEndpoint())})
	}
	for _, p := range capabilities.GetProcesses() {
		facts = append(facts, []string{"process", p.GetName() + ": " + p.GetPath()})
	}
	for _, r := range capabilities.GetRegistryCredentials() {
		facts = append(facts, []string{"registry", r.GetName() + ": credentials for " + r.GetRegistry()})
	}
	for _, e := range capabilities.GetEngines() {
		facts = append(facts, []string{"engine", fmt.Sprintf("%s %s at %s: %s", e.GetName(), e.GetVersion(), e.GetEndpoint(), orDash(strings.Join(e.GetModels(), ", ")))})
	}
	for _, key := range slices.Sorted(maps.Keys(n.GetLabels())) {
		facts = append(facts, []string{"label", key + "=" + n.GetLabels()[key]})
	}
	for _, taint := range n.GetTaints() {
		facts = append(facts, []string{"taint", taint})
	}
	return append(facts,
		[]string{"jobs", strconv.Itoa(int(usage.GetRunningJobs()))},
		[]string{"registered", age(n.GetRegisteredAt()) + " ago"},
		[]string{"seen", age(n.GetLastHeartbeatAt()) + " ago"})
}

func memoryText(total int64, usage *orchionv1.NodeUsage) string {
	text := fmt.Sprintf("%s, %s used", bytesText(total), bytesText(usage.GetMemoryUsedBytes()))
	if others := usage.GetMemoryUsedByOthersBytes(); others > 0 {
		text += fmt.Sprintf(", %s by what no job or model declared", bytesText(others))
	}
	return text
}

func (c *cli) nodeLabel() *cobra.Command {
	return &cobra.Command{
		Use:               "label ID KEY=VALUE... KEY-...",
		Short:             "Put labels on a machine, or take them off with KEY-",
		Example:           "  orchion node label attic room=office gpu=rtx\n  orchion node label attic gpu-",
		Args:              atLeastOne("ID and label"),
		ValidArgsFunction: c.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s takes the node's id and then labels as key=value or key-", cmd.CommandPath())
			}
			path := "/api/nodes/" + segment(args[0])
			n := &orchionv1.Node{}
			if err := c.client().call(cmd.Context(), http.MethodGet, path, nil, nil, n); err != nil {
				return err
			}
			// Those of the node agent stay its own: they may change with its flags.
			labels := maps.Clone(n.GetUserLabels())
			if labels == nil {
				labels = map[string]string{}
			}
			for _, change := range args[1:] {
				if key, value, ok := strings.Cut(change, "="); ok && key != "" {
					labels[key] = value
				} else if key, ok := strings.CutSuffix(change, "-"); ok && key != "" {
					_, own := labels[key]
					if _, there := n.GetLabels()[key]; there && !own {
						return usagef("the label %s of %s is its node agent's: take it out of the agent's --labels, or give it another value", key, n.GetId())
					}
					delete(labels, key)
				} else {
					return usagef("the label %q is neither key=value nor key-", change)
				}
			}
			if err := c.client().call(cmd.Context(), http.MethodPatch, path, nil, &orchionv1.UpdateNodeRequest{Labels: labels}, n); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), n, func(w io.Writer) error { return table(w, nodeFacts(n)...) })
		},
	}
}

func (c *cli) nodeRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm ID...",
		Short:             "Forget machines that are gone",
		Args:              atLeastOne("ID"),
		ValidArgsFunction: c.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(args, func(id string) error {
				return c.client().call(cmd.Context(), http.MethodDelete, "/api/nodes/"+segment(id), nil, nil, nil)
			})
		},
	}
}

func (c *cli) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := &orchionv1.ListNodesResponse{}
	query := url.Values{"state": {"all"}, "pageSize": {"1000"}}
	if err := c.client().call(cmd.Context(), http.MethodGet, "/api/nodes", query, nil, list); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, n := range list.GetNodes() {
		ids = append(ids, cobra.CompletionWithDesc(n.GetId(), n.GetHostname()))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
