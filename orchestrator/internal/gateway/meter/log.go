package meter

import (
	"log/slog"

	"golang.org/x/time/rate"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// LogMode says which calls are logged, a line each.
type LogMode int

// Which calls are logged.
const (
	// LogOff logs none.
	LogOff LogMode = iota
	// LogErrors logs those that failed.
	LogErrors
	// LogAll logs all of them.
	LogAll
)

var logModes = map[string]LogMode{"off": LogOff, "errors": LogErrors, "all": LogAll}

// ParseLogMode reads off, errors or all.
func ParseLogMode(name string) (LogMode, error) {
	mode, ok := logModes[name]
	if !ok {
		return 0, fault.New(fault.Invalid, "must be one of off, errors, all")
	}
	return mode, nil
}

func (m LogMode) String() string {
	for name, mode := range logModes {
		if mode == m {
			return name
		}
	}
	return "?"
}

const (
	// logPerSecond bounds the lines about calls that went well, and about those
	// that did not, each: at many calls a second a log of all of them would take
	// more than the calls.
	logPerSecond = 20
	logBurst     = 100
)

// requestLog writes a line for a call.
type requestLog struct {
	mode    LogMode
	log     *slog.Logger
	limits  [2]*rate.Limiter // of calls that went well, and of others
	leftOut [2]int64
}

func newRequestLog(mode LogMode, log *slog.Logger) *requestLog {
	l := &requestLog{mode: mode, log: log}
	for i := range l.limits {
		l.limits[i] = rate.NewLimiter(logPerSecond, logBurst)
	}
	return l
}

func (l *requestLog) note(c *Call) {
	kind := 0
	if c.Outcome() == Failed {
		kind = 1
	}
	if l.mode == LogOff || l.mode == LogErrors && kind == 0 {
		return
	}
	if !l.limits[kind].Allow() {
		l.leftOut[kind]++
		return
	}
	args := []any{
		"request_id", c.RequestID, "endpoint", c.Endpoint, "model", c.Model, "caller", c.Caller,
		"node_id", c.NodeID, "replica_id", c.ReplicaID, "status", c.Status,
		"duration_ms", c.Duration.Milliseconds(), "tokens_in", c.TokensIn, "tokens_out", c.TokensOut,
	}
	if c.FirstToken > 0 {
		args = append(args, "first_token_ms", c.FirstToken.Milliseconds())
	}
	if c.Estimated {
		args = append(args, "tokens_estimated", true)
	}
	if c.Broken {
		args = append(args, "broken_off", true)
	}
	if n := l.leftOut[kind]; n > 0 {
		args = append(args, "not_logged", n) // calls like this one, since the last line
		l.leftOut[kind] = 0
	}
	l.log.Info("call of a model", args...)
}
