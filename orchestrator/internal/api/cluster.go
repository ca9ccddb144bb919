package api

import (
	"context"

	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (s *nodes) GetCluster(context.Context, *orchionv1.GetClusterRequest) (*orchionv1.Cluster, error) {
	return s.cfg.cluster(), nil
}

func (s *nodes) ResumeCluster(context.Context, *orchionv1.ResumeClusterRequest) (*orchionv1.Cluster, error) {
	s.cfg.Nodes.ResumeOutage()
	return s.cfg.cluster(), nil
}

// cluster is how the whole is now.
func (c *Config) cluster() *orchionv1.Cluster {
	counts, stats := c.Nodes.Count(), c.Jobs.Stats()
	out := &orchionv1.Cluster{
		Nodes: &orchionv1.NodeCounts{
			Online:   int32(counts[node.Online]),
			Draining: int32(counts[node.Draining]),
			Offline:  int32(counts[node.Offline]),
		},
		Jobs: &orchionv1.JobCounts{Queued: int32(stats.Queued), Active: int32(stats.Active)},
	}
	if o := c.Nodes.Outage(); o != nil {
		out.Pause = &orchionv1.ReschedulingPause{
			Since:       timeToProto(o.Since),
			Until:       timeToProto(o.Until),
			Reason:      o.Reason(),
			SilentNodes: int32(o.Silent),
			KeptJobs:    int32(stats.Spared),
		}
	}
	return out
}
