package node

import (
	"cmp"
	"context"
	"log/slog"
	"time"
)

// Store is what the registry keeps of nodes between runs; a subset of the
// orchestrator's store.
type Store interface {
	SaveNode(ctx context.Context, n Known) error
	TouchNodes(ctx context.Context, seen map[string]time.Time) error
	DeleteNode(ctx context.Context, id string) error
	ListNodes(ctx context.Context) ([]Known, error)
}

// Config says how a Registry works. The zero value of a field means its
// default.
type Config struct {
	// HeartbeatTimeout is how long a node may be silent before it is offline.
	// Default 30s.
	HeartbeatTimeout time.Duration
	// HeartbeatInterval is the period given to nodes that wish for none.
	// Default 5s; never more than a third of the timeout, so that a node may
	// lose two beats in a row.
	HeartbeatInterval time.Duration
	// SilentAfter is how long a node may be silent before leases of it that run
	// out are taken for a sign of an outage; see Spares. Default and maximum:
	// HeartbeatTimeout.
	SilentAfter time.Duration
	// PauseLimit is how long an outage may keep lost work from being replaced.
	// Default 5m; negative: outages are not looked for.
	PauseLimit time.Duration
	// MaxNodes bounds the active nodes; as many offline ones are remembered.
	// Default 20,000.
	MaxNodes int
	// Store keeps nodes between runs. nil: nothing is kept.
	Store Store
	// OnChange is told of every change but live usage, in order, before the
	// call that made the change returns. prev is nil for a node that was not
	// known, next for one that is forgotten. It must not block and must not
	// change the registry.
	OnChange func(prev, next *Node)
	// OnUsage is told of nodes whose live usage changed: each at most once a
	// second, and maxUsageReports of them a second at most. It must not block.
	OnUsage func(*Node)
	// OnOutage is told of an outage that begins, changes or ends, in order with
	// OnChange and under the same rules.
	OnOutage func(*Outage)
	// Logger gets what happens to nodes. Default: nowhere.
	Logger *slog.Logger
}

const (
	defaultHeartbeatTimeout  = 30 * time.Second
	defaultHeartbeatInterval = 5 * time.Second
	// minHeartbeatInterval keeps a node that wishes for too much from
	// flooding the orchestrator.
	minHeartbeatInterval = time.Second
	beatsPerTimeout      = 3
	defaultMaxNodes      = 20_000
	defaultPauseLimit    = 5 * time.Minute
)

func (c Config) withDefaults() Config {
	c.HeartbeatTimeout = cmp.Or(c.HeartbeatTimeout, defaultHeartbeatTimeout)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, defaultHeartbeatInterval)
	c.SilentAfter = min(cmp.Or(c.SilentAfter, c.HeartbeatTimeout), c.HeartbeatTimeout)
	c.PauseLimit = cmp.Or(c.PauseLimit, defaultPauseLimit)
	c.MaxNodes = cmp.Or(c.MaxNodes, defaultMaxNodes)
	if c.OnChange == nil {
		c.OnChange = func(_, _ *Node) {}
	}
	if c.OnOutage == nil {
		c.OnOutage = func(*Outage) {}
	}
	if c.OnUsage == nil {
		c.OnUsage = func(*Node) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Registration is what a node says of itself when it registers.
type Registration struct {
	// ID may be empty: then the registry makes one.
	ID           string
	Hostname     string
	Labels       map[string]string
	Taints       []string
	AgentVersion string
	Address      string
	// InstanceID names one run of a node agent. Empty: nothing is told apart.
	InstanceID   string
	Capabilities Capabilities
	Usage        Usage
	// HeartbeatInterval is the node's wish; 0: none.
	HeartbeatInterval time.Duration
}
