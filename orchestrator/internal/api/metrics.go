package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// metrics are the API's own and those of what it alone sees as a whole.
type metrics struct {
	calls       *prometheus.CounterVec
	callSeconds *prometheus.HistogramVec
	openStreams *prometheus.GaugeVec
	requests    *prometheus.CounterVec
	others      []prometheus.Collector
}

func newMetrics(cfg *Config) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orchion_api_calls_total",
			Help: "Calls of the API that have ended, by gRPC method and code; REST calls are among them.",
		}, []string{"method", "code"}),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "orchion_api_call_duration_seconds",
			Help:    "How long unary and streaming calls of the API took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9), // 0.5 ms to 33 s
		}, []string{"method"}),
		openStreams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "orchion_api_open_streams",
			Help: "Streaming calls of the API that are open.",
		}, []string{"method"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orchion_http_requests_total",
			Help: "HTTP requests that have ended, by kind of path and status.",
		}, []string{"path", "status"}),
	}
	m.others = append(m.others, nodeCollector{cfg.Nodes},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orchion_nodes_connected",
			Help: "Nodes whose assignment stream is open.",
		}, func() float64 { return float64(cfg.Hub.Len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orchion_rescheduling_paused",
			Help: "1 while work of silent nodes is not given to others, because too many went silent at once; else 0.",
		}, func() float64 {
			if cfg.Nodes.Outage() != nil {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orchion_event_subscribers",
			Help: "Clients that watch events.",
		}, func() float64 { return float64(cfg.Events.Subscribers()) }),
	)
	return m
}

func (m *metrics) register(r *prometheus.Registry) error {
	for _, c := range append(m.others, m.calls, m.callSeconds, m.openStreams, m.requests) {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) call(method string, code codes.Code, took time.Duration) {
	m.calls.WithLabelValues(method, code.String()).Inc()
	m.callSeconds.WithLabelValues(method).Observe(took.Seconds())
}

func (m *metrics) request(path string, status int) {
	text := "200"
	if status != http.StatusOK {
		text = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(path, text).Inc()
}

// nodeCollector counts the nodes when it is asked.
type nodeCollector struct{ registry *node.Registry }

func (nodeCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc("orchion_nodes", "Nodes that are known, by state.", []string{"state"}, nil)
}

// Describe implements prometheus.Collector.
func (c nodeCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc() }

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	for state, n := range c.registry.Count() {
		ch <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, float64(n), state.String())
	}
}
