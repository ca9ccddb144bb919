package orchestrator

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/store/sqlite"
	"github.com/orchion/orchion/shared/version"
)

// collector reads the counts that the dispatcher and the store keep, whenever
// metrics are asked for.
type collector struct {
	series []series
	build  prometheus.Metric
}

type series struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() float64
}

func newCollector(d *dispatch.Dispatcher, db *sqlite.Store, blobs *blob.Store) *collector {
	c := &collector{build: prometheus.MustNewConstMetric(
		prometheus.NewDesc("orchion_build_info", "Which build is running; always 1.", []string{"version"}, nil),
		prometheus.GaugeValue, 1, version.String())}
	add := func(name, help string, kind prometheus.ValueType, read func() float64) {
		c.series = append(c.series, series{prometheus.NewDesc("orchion_"+name, help, nil, nil), kind, read})
	}
	gauge := func(name, help string, read func(dispatch.Stats) int64) {
		add(name, help, prometheus.GaugeValue, func() float64 { return float64(read(d.Stats())) })
	}
	counter := func(name, help string, read func(dispatch.Stats) uint64) {
		add(name, help, prometheus.CounterValue, func() float64 { return float64(read(d.Stats())) })
	}
	gauge("jobs_queued", "Jobs that wait for a node.", func(s dispatch.Stats) int64 { return s.Queued })
	gauge("jobs_active", "Jobs that a node holds.", func(s dispatch.Stats) int64 { return s.Active })
	gauge("queues", "Queues that are in use or have settings.", func(s dispatch.Stats) int64 { return s.Queues })
	gauge("jobs_kept", "Jobs whose leases ran out and that are kept for their nodes while rescheduling is paused.", func(s dispatch.Stats) int64 { return s.Spared })
	counter("jobs_submitted_total", "Jobs submitted.", func(s dispatch.Stats) uint64 { return s.Submitted })
	counter("attempts_claimed_total", "Attempts given to a node.", func(s dispatch.Stats) uint64 { return s.Claimed })
	counter("attempts_started_total", "Attempts that began to run.", func(s dispatch.Stats) uint64 { return s.Started })
	counter("attempts_completed_total", "Attempts that ended and were accepted.", func(s dispatch.Stats) uint64 { return s.Completed })
	counter("attempts_lost_total", "Attempts lost with their node.", func(s dispatch.Stats) uint64 { return s.Lost })
	counter("attempts_evicted_total", "Attempts whose nodes were asked to end them so that their jobs run elsewhere.", func(s dispatch.Stats) uint64 { return s.Evicted })
	counter("leases_expired_total", "Leases that ran out.", func(s dispatch.Stats) uint64 { return s.Expired })
	counter("leases_renewed_total", "Leases renewed.", func(s dispatch.Stats) uint64 { return s.Renewed })
	add("store_changes_total", "Changes that the store made durable.", prometheus.CounterValue,
		func() float64 { return float64(db.Stats().Operations) })
	add("store_commits_total", "Transactions that the store put its changes into.", prometheus.CounterValue,
		func() float64 { return float64(db.Stats().Commits) })
	add("blob_bytes", "Bytes that the blobs take.", prometheus.GaugeValue, func() float64 { return float64(blobs.Bytes()) })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.build.Desc()
	for _, s := range c.series {
		ch <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- c.build
	for _, s := range c.series {
		ch <- prometheus.MustNewConstMetric(s.desc, s.kind, s.read())
	}
}
