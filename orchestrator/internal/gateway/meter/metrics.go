package meter

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// genAI are metrics with the names and buckets of OpenTelemetry's semantic
// conventions for generative AI (gen-ai-metrics.md, 1.37), so that dashboards
// made for those work here.
type genAI struct {
	tokens     *prometheus.HistogramVec
	duration   *prometheus.HistogramVec
	firstToken *prometheus.HistogramVec
	perToken   *prometheus.HistogramVec
	models     map[[2]string]struct{} // that have series, with their engines
}

const (
	// maxModels bounds the models and engines that have series of their own.
	maxModels = 200
	// otherModel is where the rest is counted.
	otherModel = "_OTHER"
)

func newGenAI(registry prometheus.Registerer, lost func() uint64) *genAI {
	labels := []string{"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets},
			append(append([]string{}, labels...), more...))
	}
	m := &genAI{
		models: map[[2]string]struct{}{},
		tokens: histogram("gen_ai_client_token_usage", "Tokens of a call, by gen_ai_token_type (input, output).",
			prometheus.ExponentialBuckets(1, 4, 14), "gen_ai_token_type"),
		duration: histogram("gen_ai_client_operation_duration_seconds", "How long a call took; error_type is empty when it went well.",
			prometheus.ExponentialBuckets(0.01, 2, 14), "error_type"),
		firstToken: histogram("gen_ai_server_time_to_first_token_seconds", "From the start of a call to the first byte of its stream.",
			[]float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}),
		perToken: histogram("gen_ai_server_time_per_output_token_seconds", "Time for each token after the first of a stream.",
			[]float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5}),
	}
	if registry != nil {
		registry.MustRegister(m.tokens, m.duration, m.firstToken, m.perToken, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "orchion_gateway_usage_lost_total",
			Help: "Calls that usage does not count, because they came faster than they could be counted or stored.",
		}, func() float64 { return float64(lost()) }))
	}
	return m
}

// observe counts a call. One that no engine was found for is not among them.
func (m *genAI) observe(c *Call) {
	if c.Model == "" {
		return
	}
	operation := operationOf(c.Endpoint)
	model, engine := m.bounded(c.Model, c.Engine)
	m.duration.WithLabelValues(operation, engine, model, errorType(c)).Observe(c.Duration.Seconds())
	if c.FirstToken > 0 {
		m.firstToken.WithLabelValues(operation, engine, model).Observe(c.FirstToken.Seconds())
	}
	if tokens, in := c.pace(); c.Streamed && tokens > 0 {
		m.perToken.WithLabelValues(operation, engine, model).Observe(in.Seconds() / float64(tokens))
	}
	if c.TokensIn > 0 {
		m.tokens.WithLabelValues(operation, engine, model, "input").Observe(float64(c.TokensIn))
	}
	if c.TokensOut > 0 {
		m.tokens.WithLabelValues(operation, engine, model, "output").Observe(float64(c.TokensOut))
	}
}

// bounded gives the labels of a model on an engine, or others when there are too
// many.
func (m *genAI) bounded(model, engine string) (modelLabel, engineLabel string) {
	key := [2]string{model, engine}
	if _, ok := m.models[key]; ok {
		return model, engine
	}
	if len(m.models) == maxModels {
		return otherModel, otherModel
	}
	m.models[key] = struct{}{}
	return model, engine
}

// operationOf gives the convention's word for what an endpoint does.
func operationOf(endpoint string) string {
	switch last := endpoint[strings.LastIndexByte(endpoint, '/')+1:]; {
	case strings.HasPrefix(last, "embed"):
		return "embeddings"
	case strings.HasSuffix(endpoint, "/v1/completions"), last == "generate":
		return "text_completion"
	case strings.HasSuffix(endpoint, "/chat/completions"), last == "chat", last == "messages", last == "responses":
		return "chat"
	default:
		return last
	}
}

// errorType is a status, or a word where none says it.
func errorType(c *Call) string {
	switch {
	case c.Outcome() == OK:
		return ""
	case c.Broken:
		return "broken_off"
	case c.Status == StatusCancelled:
		return "cancelled"
	case http.StatusText(c.Status) == "":
		return otherModel
	default:
		return strconv.Itoa(c.Status)
	}
}
