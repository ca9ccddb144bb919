package gateway

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
)

// statusClientGone stands in the metrics for a client that left, as in nginx.
const statusClientGone = meter.StatusCancelled

type metrics struct {
	inFlight  prometheus.Gauge
	queued    prometheus.Gauge
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	firstByte *prometheus.HistogramVec
	tokens    *prometheus.CounterVec

	mu     sync.Mutex          // guards models
	models map[string]struct{} // that have series of their own
}

const (
	// maxLabels bounds the models that have series of their own: clients that pull and
	// delete, and nodes that adopt engines, can make ever new ones.
	maxLabels = 200
	// otherLabel is where the rest is counted.
	otherLabel = "_OTHER"
)

// label gives the label of a model.
func (m *metrics) label(model string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.models[model]; ok || model == "" {
		return model
	}
	if len(m.models) == maxLabels {
		return otherLabel
	}
	m.models[model] = struct{}{}
	return model
}

func newMetrics(registry prometheus.Registerer) *metrics {
	// From 1 ms to 4.4 min, each four times the last: an error, an embedding
	// and a long generation are all told apart.
	buckets := prometheus.ExponentialBuckets(0.001, 4, 10)
	m := &metrics{
		models: make(map[string]struct{}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orchion_gateway_requests_in_flight",
			Help: "Requests to models that are being served.",
		}),
		queued: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orchion_gateway_requests_queued",
			Help: "Requests that wait for a replica that has time for them.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orchion_gateway_requests_total",
			Help: "Requests to models, by model (empty: none was found; _OTHER: all beyond the first 200), endpoint and HTTP status (499: the client left).",
		}, []string{"model", "endpoint", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "orchion_gateway_request_duration_seconds",
			Help:    "From the request's headers to the end of the answer.",
			Buckets: buckets,
		}, []string{"model", "endpoint"}),
		firstByte: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "orchion_gateway_first_byte_seconds",
			Help:    "From the request's headers to the first byte of the engine's answer.",
			Buckets: buckets,
		}, []string{"model", "endpoint"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orchion_gateway_tokens_total",
			Help: "Tokens as engines count them in their answers; streams only tell with stream_options.include_usage.",
		}, []string{"model", "kind"}),
	}
	if registry != nil {
		registry.MustRegister(m.inFlight, m.queued, m.requests, m.duration, m.firstByte, m.tokens)
	}
	return m
}

// observe counts a call that has ended.
func (m *metrics) observe(c *call, status int) {
	model := m.label(c.model)
	m.requests.WithLabelValues(model, c.endpoint.path, strconv.Itoa(status)).Inc()
	if model == "" {
		return
	}
	m.duration.WithLabelValues(model, c.endpoint.path).Observe(time.Since(c.started).Seconds())
	if !c.wrote.IsZero() {
		m.firstByte.WithLabelValues(model, c.endpoint.path).Observe(c.wrote.Sub(c.started).Seconds())
	}
	if t := c.usage.tokens(); t.counted {
		m.tokens.WithLabelValues(model, "prompt").Add(float64(t.in))
		m.tokens.WithLabelValues(model, "completion").Add(float64(t.out))
	}
}

// statusRecorder remembers the status that was sent.
type statusRecorder struct {
	http.ResponseWriter

	status int
	begun  bool // a stream has begun, before it is known what it will say
}

// begin begins a stream, for comments.
func (r *statusRecorder) begin(contentType string) {
	streamHeaders(r.Header(), contentType)
	r.WriteHeader(http.StatusOK)
	r.begun = true
	_ = http.NewResponseController(r.ResponseWriter).Flush() // a client that left is noticed elsewhere
}

// comment tells what is no event.
func (r *statusRecorder) comment(text string) {
	_, _ = r.Write([]byte(": " + text + "\n\n"))             // likewise
	_ = http.NewResponseController(r.ResponseWriter).Flush() // likewise
}

// WriteHeader remembers the status and passes it on, once.
func (r *statusRecorder) WriteHeader(status int) {
	if r.begun {
		return
	}
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the real writer.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
