package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) clusterCommand() *cobra.Command {
	return group("cluster", "Show and steer the whole", nil, c.clusterShow(), c.clusterResume())
}

func (c *cli) clusterShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show nodes and jobs in numbers, and whether rescheduling is paused",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cluster := &orchionv1.Cluster{}
			if err := c.client().call(cmd.Context(), http.MethodGet, "/api/cluster", nil, nil, cluster); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), cluster, func(w io.Writer) error { return table(w, clusterFacts(cluster)...) })
		},
	}
}

func (c *cli) clusterResume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "Give the work of silent nodes to others although many went silent at once",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cluster := &orchionv1.Cluster{}
			if err := c.client().call(cmd.Context(), http.MethodPost, "/api/cluster:resume", nil, &orchionv1.ResumeClusterRequest{}, cluster); err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), cluster, func(w io.Writer) error { return table(w, clusterFacts(cluster)...) })
		},
	}
}

func clusterFacts(cluster *orchionv1.Cluster) [][]string {
	nodes, jobs := cluster.GetNodes(), cluster.GetJobs()
	facts := [][]string{
		{"nodes", fmt.Sprintf("%d online, %d draining, %d offline", nodes.GetOnline(), nodes.GetDraining(), nodes.GetOffline())},
		{"jobs", fmt.Sprintf("%d queued, %d active", jobs.GetQueued(), jobs.GetActive())},
	}
	p := cluster.GetPause()
	if p == nil {
		return append(facts, []string{"rescheduling", "works"})
	}
	return append(facts,
		[]string{"rescheduling", "paused since " + age(p.GetSince()) + ", for at most " + short(time.Until(p.GetUntil().AsTime())) + " more"},
		[]string{"why", p.GetReason()},
		[]string{"still silent", strconv.Itoa(int(p.GetSilentNodes())) + " nodes"},
		[]string{"kept for them", strconv.Itoa(int(p.GetKeptJobs())) + " jobs whose leases ran out"},
		[]string{"go on with", "orchion cluster resume"})
}

// warnOfPause tells people who look at nodes that rescheduling is paused.
func (c *cli) warnOfPause(cmd *cobra.Command, w io.Writer) error {
	cluster := &orchionv1.Cluster{}
	err := c.client().call(cmd.Context(), http.MethodGet, "/api/cluster", nil, nil, cluster)
	if cluster.GetPause() == nil {
		return ignoreNotFound(err)
	}
	_, err = fmt.Fprintf(w, "\nRescheduling is paused: %s. The work of silent nodes is kept for them; see orchion cluster show.\n",
		printable(cluster.GetPause().GetReason()))
	return err
}

// ignoreNotFound makes it no error that an older orchestrator does not know
// what it was asked for.
func ignoreNotFound(err error) error {
	if failure := (*apiError)(nil); errors.As(err, &failure) && failure.notFound() {
		return nil
	}
	return err
}
