package orchestrator

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/api"
	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store/logfile"
)

// Config says how an orchestrator runs. Begin with DefaultConfig: zero is not
// the default of every field.
type Config struct {
	// Listen is the address that both ports are bound to. Default 127.0.0.1.
	// Only addresses of loopback are accepted.
	Listen string
	// Port is the gRPC port that nodes dial. 0 takes a free one. Default 50051.
	Port int
	// HTTPPort serves the REST API, the gateway and the dashboard. 0 takes a
	// free one. Default 8080.
	HTTPPort int
	// DataDir holds the database, the logs and what else is kept. Required;
	// DefaultDataDir names the usual one.
	DataDir string
	// HeartbeatTimeout is how long a node may be silent before it is offline.
	// 1s to 1h. Default 30s.
	HeartbeatTimeout time.Duration
	// LeaseTTL is how long an attempt may run without its node renewing the
	// lease. 3s to 1h. Default 30s.
	LeaseTTL time.Duration
	// PauseLimit is how long the work of silent nodes is kept for them when
	// more than half went silent within a minute. 10s to 24h; 0: never. Default
	// 5m.
	PauseLimit time.Duration
	// ReserveAfter is how long a job whose turn it is finds no room until some is
	// kept for it. 1s to 24h. Default 1m.
	ReserveAfter time.Duration
	// ShutdownTimeout bounds the graceful end. 1s to 10m. Default 10s.
	ShutdownTimeout time.Duration
	// AllowedOrigins may use the API from a browser besides the dashboard that
	// is served here. Default: the dashboard's development server.
	AllowedOrigins []string
	// AllowedHosts are names under which a browser may address the
	// orchestrator besides those of loopback. Default: none.
	AllowedHosts []string
	// MaxNodes bounds the nodes that are online together. 1 to 1,000,000.
	// Default 20,000.
	MaxNodes int
	// LogRetention is how long the log of an attempt that has ended is kept after
	// it last grew. 1m to 100 years; 0: for ever. Default 14 days.
	LogRetention time.Duration
	// LogMaxBytes is how much of the disk all logs together may take, about: over
	// it the oldest of what has ended go. At least 1 MiB; 0: no limit. Default
	// 10 GiB.
	LogMaxBytes int64
	// JobLogMaxBytes bounds the log of one attempt, counted before it is
	// compressed: over it lines are dropped from the middle. 64 KiB to 1 TiB.
	// Default 256 MiB.
	JobLogMaxBytes int64
	// ArtifactRetention is how long artifacts are kept. 1m to 36500d; 0: as long as
	// their job. Default 30d.
	ArtifactRetention time.Duration
	// ArtifactMaxBytes bounds what one attempt may leave. At least 1 MiB and at
	// most BlobStoreMaxBytes. Default 1 GiB.
	ArtifactMaxBytes int64
	// BlobMaxBytes bounds one blob: an input file or an artifact. 1 MiB to 1
	// TiB. Default 1 GiB.
	BlobMaxBytes int64
	// BlobStoreMaxBytes is how much of the disk all blobs together may take. At
	// least BlobMaxBytes. Default 20 GiB.
	BlobStoreMaxBytes int64
	// JobHistory is how long a job is kept after it ended, with its log. 1m to
	// 36500d; 0 is for ever. Default 30d.
	JobHistory time.Duration
	// MaxJobHistory is how many ended jobs are kept; over it the oldest go. 0
	// is no limit. Default 1,000,000.
	MaxJobHistory int
	// UsageRetention is how long it is kept what calls of models took. 1h to
	// 36500d; 0 is for ever. Default 90d.
	UsageRetention time.Duration
	// GatewayLog says which calls of models are logged, a line each, without what
	// was asked and answered. Default: all, at most 20 a second.
	GatewayLog GatewayLog
	// ColdModelTimeout is how long a request waits for a model that is deployed and
	// not ready. 0 (not at all) to 1h. Default: 5m.
	ColdModelTimeout time.Duration
	// QueueTimeout is how long a request for a model waits until one of its replicas
	// has time for it. 0 (not at all) to 1h. Default: 5m.
	QueueTimeout time.Duration
	// DirectPath says that engines on this machine are connected to directly, and
	// not through their node, where the node allows it. Default: true.
	DirectPath bool
	// Placement says which of the nodes that fit gets work that does not say.
	// Default: spread.
	Placement Placement
	// Logger gets what happens. Default: nowhere.
	Logger *slog.Logger
	// OnReady is called once everything is served. Default: nothing.
	OnReady func(Addresses)
}

// Placement says which of the nodes that fit are the better ones.
type Placement = job.Placement

// ParsePlacement reads a placement: binpack or spread.
func ParsePlacement(name string) (Placement, error) { return job.ParsePlacement(name) }

// GatewayLog says which calls of models are logged.
type GatewayLog = meter.LogMode

// ParseGatewayLog reads off, errors or all.
func ParseGatewayLog(name string) (GatewayLog, error) { return meter.ParseLogMode(name) }

// Addresses are what a running orchestrator is bound to.
type Addresses struct {
	// GRPC is host:port.
	GRPC string `json:"grpcAddress"`
	// HTTP is a URL without a path.
	HTTP string `json:"httpUrl"`
}

// ports gives the ports of both.
func (a Addresses) ports() (ports []uint16) {
	for _, address := range []string{a.GRPC, strings.TrimPrefix(a.HTTP, "http://")} {
		if parsed, err := netip.ParseAddrPort(address); err == nil {
			ports = append(ports, parsed.Port())
		}
	}
	return ports
}

// DefaultConfig is the configuration of an orchestrator that was told nothing,
// but for DataDir.
func DefaultConfig() Config {
	return Config{
		Listen:           "127.0.0.1",
		Port:             50051,
		HTTPPort:         8080,
		HeartbeatTimeout: 30 * time.Second,
		LeaseTTL:         dispatch.DefaultLeaseTTL,
		PauseLimit:       5 * time.Minute,
		ReserveAfter:     dispatch.DefaultReserveAfter,
		ShutdownTimeout:  10 * time.Second,
		AllowedOrigins:   []string{"http://localhost:5173", "http://127.0.0.1:5173"},
		MaxNodes:         20_000,
		LogRetention:     14 * day,
		JobHistory:       30 * day,
		MaxJobHistory:    1_000_000,
		LogMaxBytes:      10 << 30,
		JobLogMaxBytes:   logfile.DefaultMaxBytes,
		UsageRetention:   90 * day,
		GatewayLog:       meter.LogAll,
		ColdModelTimeout: 5 * time.Minute,
		QueueTimeout:     5 * time.Minute,
		DirectPath:       true,
		Placement:        job.Spread,

		ArtifactRetention: 30 * day,
		ArtifactMaxBytes:  1 << 30,
		BlobMaxBytes:      blob.DefaultMaxBytes,
		BlobStoreMaxBytes: blob.DefaultStoreMaxBytes,
	}
}

const (
	maxPort = 65535
	day     = 24 * time.Hour

	maxLogRetention = 36_500 * day
	minLogBytes     = 1 << 20
	minJobLogBytes  = 64 << 10
	maxJobLogBytes  = 1 << 40
	minBlobBytes    = 1 << 20
	maxBlobBytes    = 1 << 40
)

// Validate says what is wrong with a configuration, naming the flag.
func (c *Config) Validate() error {
	for _, p := range []struct {
		flag string
		port int
	}{{"port", c.Port}, {"http-port", c.HTTPPort}} {
		if p.port < 0 || p.port > maxPort {
			return fault.BadField("--"+p.flag, "is %d; it must be between 0 and %d, 0 taking a free port", p.port, maxPort)
		}
	}
	if c.Port != 0 && c.Port == c.HTTPPort {
		return fault.BadField("--http-port", "is %d, as is --port; gRPC and HTTP each need a port of their own", c.HTTPPort)
	}
	for _, d := range []struct {
		flag            string
		value, low, top time.Duration
	}{
		{"heartbeat-timeout", c.HeartbeatTimeout, time.Second, time.Hour},
		{"lease-ttl", c.LeaseTTL, 3 * time.Second, time.Hour},
		{"reserve-after", c.ReserveAfter, time.Second, 24 * time.Hour},
		{"shutdown-timeout", c.ShutdownTimeout, time.Second, 10 * time.Minute},
	} {
		if d.value < d.low || d.value > d.top {
			return fault.BadField("--"+d.flag, "is %v; it must be between %v and %v", d.value, d.low, d.top)
		}
	}
	if c.PauseLimit != 0 && (c.PauseLimit < 10*time.Second || c.PauseLimit > 24*time.Hour) {
		return fault.BadField("--pause-limit", "is %v; it must be between 10s and 24h, or 0 for never pausing", c.PauseLimit)
	}
	if c.MaxNodes < 1 || c.MaxNodes > 1_000_000 {
		return fault.BadField("--max-nodes", "is %d; it must be between 1 and 1000000", c.MaxNodes)
	}
	switch {
	case c.JobHistory != 0 && (c.JobHistory < time.Minute || c.JobHistory > maxLogRetention):
		return fault.BadField("--job-history", "is %v; it must be between 1m and 36500d, or 0 to keep jobs for ever", c.JobHistory)
	case c.MaxJobHistory < 0:
		return fault.BadField("--max-job-history", "is %d; it must be at least 1, or 0 for no limit", c.MaxJobHistory)
	case c.LogRetention != 0 && (c.LogRetention < time.Minute || c.LogRetention > maxLogRetention):
		return fault.BadField("--log-retention", "is %v; it must be between 1m and 36500d, or 0 to keep logs for ever", c.LogRetention)
	case c.UsageRetention != 0 && (c.UsageRetention < time.Hour || c.UsageRetention > maxLogRetention):
		return fault.BadField("--usage-retention", "is %v; it must be between 1h and 36500d, or 0 to keep usage for ever", c.UsageRetention)
	case c.ColdModelTimeout < 0 || c.ColdModelTimeout > time.Hour:
		return fault.BadField("--cold-model-timeout", "is %v; it must be between 0 and 1h", c.ColdModelTimeout)
	case c.QueueTimeout < 0 || c.QueueTimeout > time.Hour:
		return fault.BadField("--queue-timeout", "is %v; it must be between 0 and 1h", c.QueueTimeout)
	case c.LogMaxBytes != 0 && c.LogMaxBytes < minLogBytes:
		return fault.BadField("--log-max-bytes", "is %d; it must be at least %d, or 0 for no limit", c.LogMaxBytes, minLogBytes)
	case c.JobLogMaxBytes < minJobLogBytes || c.JobLogMaxBytes > maxJobLogBytes:
		return fault.BadField("--job-log-max-bytes", "is %d; it must be between %d and %d", c.JobLogMaxBytes, minJobLogBytes, maxJobLogBytes)
	}
	if !slices.Contains(job.Placements(), c.Placement) {
		return fault.BadField("--placement", "is not set; it must be binpack or spread")
	}
	switch {
	case c.BlobMaxBytes < minBlobBytes || c.BlobMaxBytes > maxBlobBytes:
		return fault.BadField("--blob-max-bytes", "is %d; it must be between %d and %d", c.BlobMaxBytes, minBlobBytes, maxBlobBytes)
	case c.BlobStoreMaxBytes < c.BlobMaxBytes:
		return fault.BadField("--blob-store-max-bytes", "is %d; it must be at least --blob-max-bytes, which is %d", c.BlobStoreMaxBytes, c.BlobMaxBytes)
	case c.ArtifactRetention != 0 && (c.ArtifactRetention < time.Minute || c.ArtifactRetention > maxLogRetention):
		return fault.BadField("--artifact-retention", "is %v; it must be between 1m and 36500d, or 0 to keep artifacts as long as their jobs", c.ArtifactRetention)
	case c.ArtifactMaxBytes < minBlobBytes || c.ArtifactMaxBytes > c.BlobStoreMaxBytes:
		return fault.BadField("--artifact-max-bytes", "is %d; it must be between %d and --blob-store-max-bytes, which is %d", c.ArtifactMaxBytes, minBlobBytes, c.BlobStoreMaxBytes)
	}
	if c.DataDir == "" {
		return fault.BadField("--data-dir", "is empty; name a folder")
	}
	for _, origin := range c.AllowedOrigins {
		if err := api.CheckOrigin(origin); err != nil {
			return err
		}
	}
	for _, host := range c.AllowedHosts {
		if err := api.CheckHost(host); err != nil {
			return err
		}
	}
	return checkListen(c.Listen)
}

// checkListen refuses every address that another machine could reach, until
// there is something that tells who is calling.
func checkListen(host string) error {
	if strings.EqualFold(host, "localhost") {
		return nil
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return fault.BadField("--listen", "is %q; it must be an address of this machine, such as 127.0.0.1, ::1 or localhost, without a port", host)
	}
	if !address.IsLoopback() {
		return fault.BadField("--listen", "is %s, which other machines can reach. Enrolment with TLS and authentication is not built yet, "+
			"so only loopback (127.0.0.1, ::1, localhost) is accepted. Until then, reach this orchestrator from another machine through "+
			"a tunnel, for example: ssh -N -L 50051:localhost:50051 -L 8080:localhost:8080 user@this-machine", host)
	}
	return nil
}

// hostPort joins an address as net.Listen takes it.
func hostPort(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), fmt.Sprint(port))
}
