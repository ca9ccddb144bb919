package gateway

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// usage keeps the end of an answer, where the tokens are counted, and how many
// events a stream had, where they are not.
type usage struct {
	framing framing
	tail    []byte
	lines   int // of a stream
	events  int // of one that is translated
	// known is what tokens answered, if it was asked.
	known   tokens
	isKnown bool
	room    [tailSize]byte // of tail
}

// framing is what parts the events of a stream.
type framing int

const (
	noStream framing = iota
	serverSentEvents
	ndjson
)

func framingOf(mediaType string) framing {
	if mediaType == "application/x-ndjson" {
		return ndjson
	}
	return serverSentEvents
}

// tailSize holds the last events of a stream, or the end of an answer.
const tailSize = 1 << 10

// note is told of every piece of an answer's bytes.
func (u *usage) note(p []byte) {
	if u.framing != noStream {
		u.lines += bytes.Count(p, newline)
	}
	u.keep(p)
}

var newline = []byte("\n")

// event is told of every event of a stream that is translated, without what
// parts it from others.
func (u *usage) event(data []byte) {
	u.events++
	u.keep(data)
}

func (u *usage) keep(p []byte) {
	if u.tail == nil {
		u.tail = u.room[:0]
	}
	if len(p) >= tailSize {
		u.tail = append(u.tail[:0], p[len(p)-tailSize:]...)
		return
	}
	if over := len(u.tail) + len(p) - tailSize; over > 0 {
		u.tail = u.tail[:copy(u.tail, u.tail[over:])]
	}
	u.tail = append(u.tail, p...)
}

// tokens are what an answer took.
type tokens struct {
	in, out int64
	// counted: by the engine. Else out is what the events of a stream let guess.
	counted bool
}

// tokens reads what the engine counted: OpenAI's usage, that of its responses
// and of Anthropic's messages, or Ollama's counts. Without it, a stream has about
// as many tokens as events.
// It is asked once the answer is over.
func (u *usage) tokens() tokens {
	if !u.isKnown {
		u.known, u.isKnown = u.read(), true
	}
	return u.known
}

func (u *usage) read() tokens {
	var t tokens
	if i := lastIndex(u.tail, usageKey); i >= 0 {
		s := scanner{data: u.tail, pos: i + len(usageKey)}
		s.skipSpace()
		t.read(&s)
	} else if lastIndex(u.tail, anyEvalKey) >= 0 {
		t.in, t.out = numberAfter(u.tail, promptEvalKey), numberAfter(u.tail, evalKey)
	}
	if t.in >= 0 && t.out >= 0 && t.in+t.out > 0 { // a counter must not fall
		t.counted = true
		return t
	}
	return tokens{out: u.guess()}
}

var (
	usageKey      = []byte(`"usage":`)
	promptEvalKey = []byte(`"prompt_eval_count":`)
	evalKey       = []byte(`"eval_count":`)
	anyEvalKey    = []byte(`eval_count":`) // with which both end
)

// read reads an object of counts as far as it is whole.
func (t *tokens) read(s *scanner) {
	if s.peek() != '{' {
		return
	}
	err := s.object(0, func(key []byte) error {
		var into *int64
		switch string(key) {
		case `"prompt_tokens"`, `"input_tokens"`:
			into = &t.in
		case `"completion_tokens"`, `"output_tokens"`:
			into = &t.out
		}
		from := s.pos
		if err := s.value(1); err != nil {
			return err
		}
		if into != nil {
			*into = number(s.data[from:s.pos])
		}
		return nil
	})
	if err != nil { // cut off
		*t = tokens{}
	}
}

// number reads a whole number; anything else is 0.
func number(text []byte) int64 {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// lastIndex is bytes.LastIndex for a text that rarely has the key: looking from the
// front is many times faster.
func lastIndex(text, key []byte) int {
	last := -1
	for at := 0; ; at = last + len(key) {
		i := bytes.Index(text[at:], key)
		if i < 0 {
			return last
		}
		last = at + i
	}
}

// numberAfter reads the number after the last of a key.
func numberAfter(text, key []byte) int64 {
	i := lastIndex(text, key)
	if i < 0 {
		return 0
	}
	rest := bytes.TrimLeft(text[i+len(key):], " ")
	end := 0
	for end < len(rest) && isDigit(rest[end]) {
		end++
	}
	return number(rest[:end])
}

// guess says how many tokens a stream had by its events, each of which is two
// lines, one of them empty, or one of NDJSON. The last says that it ends; before
// it, OpenAI's has one that says why.
func (u *usage) guess() int64 {
	events := u.events
	switch u.framing {
	case noStream:
		return 0
	case ndjson:
		events += u.lines - 1
	case serverSentEvents:
		events += u.lines/2 - 2
	}
	return int64(max(events, 0))
}

// meter tells the meter of a call that has ended.
func (g *Gateway) meter(ctx context.Context, c *call, status int) {
	if g.cfg.Meter == nil {
		return
	}
	t := c.usage.tokens()
	told := meter.Call{
		RequestID: requestIDOf(ctx), Time: c.started, Endpoint: c.endpoint.path, Model: c.model, Caller: callerName(ctx),
		NodeID: c.route.NodeID, ReplicaID: c.route.ReplicaID, Engine: c.route.Engine, RouteReason: c.reason,
		Status: status, Broken: c.broken && status < http.StatusBadRequest, Streamed: c.streamed,
		TokensIn: t.in, TokensOut: t.out, Estimated: !t.counted && t.out > 0, Duration: time.Since(c.started), Queue: c.queued,
	}
	if told.Streamed && !c.wrote.IsZero() {
		told.FirstToken = c.wrote.Sub(c.started)
	}
	g.cfg.Meter.Note(&told)
}

// callerName says who a request is from, as usage counts it.
func callerName(ctx context.Context) string {
	if caller, ok := ctx.Value(callerKey{}).(tunnel.Caller); ok {
		return meter.JobCaller(caller.Ref.JobID)
	}
	return meter.LocalCaller
}
