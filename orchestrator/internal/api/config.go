// Package api is the orchestrator's face to the outside: gRPC, REST, events,
// logs and the dashboard. It alone knows the generated code: it checks what
// comes in, names the field that is wrong, and translates between the wire and
// the domain. Nothing is decided here that does not concern the wire.
package api

import (
	"cmp"
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// Jobs is the dispatcher as the API uses it. Errors are *fault.Error.
type Jobs interface {
	Submit(ctx context.Context, j job.Job) (job.Job, error)
	SubmitArray(ctx context.Context, j job.Job, count int) (job.Job, error)
	Cancel(ctx context.Context, id, reason string) (job.Job, error)
	CancelArray(ctx context.Context, arrayID, reason string) (dispatch.ArrayCancelled, error)
	Retry(ctx context.Context, id string) (job.Job, error)
	// Annotate puts the newest reasons into jobs that were read from the store.
	Annotate(ctx context.Context, jobs []job.Job)
	Explain(ctx context.Context, id string) (summary string, fits []scheduler.Fit, err error)

	// Connected takes what a node holds when it connects and answers what it
	// should run.
	Connected(ctx context.Context, s *dispatch.Session, hello []dispatch.AttemptStatus) ([]dispatch.JobAssignment, error)
	AttemptStatus(ctx context.Context, nodeID string, s dispatch.AttemptStatus) error
	RenewLeases(ctx context.Context, nodeID string, sequence uint64, refs []job.Ref) error
	// HoldsAttempt says whether an attempt is a node's and has not ended.
	HoldsAttempt(nodeID string, ref job.Ref) bool
	// NodeLeft says that a node left on purpose, having stopped what it ran.
	NodeLeft(nodeID string)
	// NodeImages says which container images a node has.
	NodeImages(nodeID string, names []string)
	// JobsOn answers how many jobs a node holds.
	JobsOn(nodeID string) int
	Stats() dispatch.Stats
}

// Queues is the dispatcher as those use it who share it out. Errors are
// *fault.Error.
type Queues interface {
	Queues(ctx context.Context) ([]dispatch.QueueStatus, error)
	Queue(ctx context.Context, name string) (dispatch.QueueStatus, error)
	SetQueue(ctx context.Context, name string, change func(*job.Queue) error) (dispatch.QueueStatus, error)
	DeleteQueue(ctx context.Context, name string) error
}

// Schedules is the schedule manager as the API uses it. Errors are
// *fault.Error.
type Schedules interface {
	Put(ctx context.Context, s schedule.Schedule) (schedule.Schedule, error)
	Pause(ctx context.Context, name string, paused bool) (schedule.Schedule, error)
	Delete(ctx context.Context, name string) error
	Trigger(ctx context.Context, name string) (job.Job, error)
	Get(name string) (schedule.Schedule, error)
	List() []schedule.Schedule
}

// JobReader is the store as the API reads it.
type JobReader interface {
	GetJob(ctx context.Context, id string) (job.Job, error)
	ListJobs(ctx context.Context, f store.JobFilter) (store.JobPage, error)
}

// Artifacts is the store as the API keeps in it what attempts left.
type Artifacts interface {
	PutArtifacts(ctx context.Context, ref job.Ref, list []job.Artifact, now time.Time) error
	ArtifactSets(ctx context.Context, jobID string) ([]job.ArtifactSet, error)
	ListArtifacts(ctx context.Context, jobID string, f store.ArtifactFilter) ([]job.Artifact, error)
}

// Deployments is the model manager as the API uses it.
type Deployments interface {
	Create(ctx context.Context, d model.Deployment) (model.Deployment, error)
	Update(ctx context.Context, name string, change func(*model.Deployment) error) (model.Deployment, error)
	Delete(ctx context.Context, name string) error
	Get(name string) (model.Deployment, error)
	List() []model.Deployment

	Connected(ctx context.Context, nodeID string, hello []model.ReplicaStatus) ([]model.Assignment, error)
	ReplicaStatus(ctx context.Context, nodeID string, s model.ReplicaStatus)
	NodeLeft(nodeID string)
}

// Usage is the gateway's meter as the API reads it. Errors are *fault.Error.
type Usage interface {
	Report(ctx context.Context, q usage.Query) (usage.Report, error)
	// Recent gives the newest calls; next continues the list, 0 is its end.
	Recent(f meter.Filter) (calls []meter.Numbered, next uint64)
	// Lost is how many calls were not counted.
	Lost() uint64
}

// Aliases is the book of aliases. Errors are *fault.Error.
type Aliases interface {
	Put(ctx context.Context, a alias.Alias) (alias.Status, error)
	Delete(ctx context.Context, name string) error
	Get(name string) (alias.Status, error)
	List() []alias.Status // ordered by name
}

// Tunnels is the tunnel server as the API feeds it.
type Tunnels interface {
	Accept(nodeID, tunnelID string, stream tunnel.FrameStream) error
	Call(caller tunnel.Caller, stream tunnel.FrameStream) error
	Refused(nodeID, tunnelID, reason string)
	Direct(nodeID, tunnelID, address string)
	Dial(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error)
	SessionLost(nodeID string)
}

// Config says what the API serves. Every field without a default is required.
type Config struct {
	Nodes     *node.Registry
	Jobs      Jobs
	Queues    Queues
	Schedules Schedules
	JobStore  JobReader
	Logs      store.LogStore
	Blobs     *blob.Store
	Artifacts Artifacts
	// ArtifactMaxBytes bounds what one attempt may leave. Default: as much as one
	// blob may have.
	ArtifactMaxBytes int64
	Deployments      Deployments
	// InFlight counts the requests of the gateway that a replica of a model has.
	// Default: none.
	InFlight func(model, nodeID, replicaID string) int
	// Traffic answers how the requests for a model stand, and its replicas that are
	// ready; with an empty name, those of all models that have some. Default: none.
	Traffic    func(model string) ([]routing.QueueStatus, []routing.ReplicaStatus)
	Usage      Usage
	Aliases    Aliases
	ModelFiles ModelFiles
	ModelFit   ModelFit
	ModelPulls ModelPulls
	Hub        *dispatch.Hub
	Tunnels    Tunnels
	Events     *events.Bus
	// LeaseTTL is told to nodes when they register.
	LeaseTTL time.Duration
	// GRPCAddress is the address that nodes dial, host:port.
	GRPCAddress string
	StartedAt   time.Time
	// Ready answers nil when everything is loaded and the store works.
	Ready func(ctx context.Context) error
	// Gateway serves /v1/. Default: 404.
	Gateway http.Handler
	// Dashboard is the built dashboard. nil: it was not built.
	Dashboard fs.FS
	// AllowedOrigins may read and change things from a browser, such as
	// http://localhost:5173. Requests of the orchestrator's own pages always
	// may. Default: none.
	AllowedOrigins []string
	// AllowedHosts are names, without port, under which the orchestrator may
	// be addressed besides localhost, 127.0.0.1 and [::1]. Default: none.
	AllowedHosts []string
	// Metrics is where the API's metrics are registered and what /metrics
	// shows. Default: a new registry.
	Metrics *prometheus.Registry
	Logger  *slog.Logger
	// KeepAlive is how often an idle event stream sends a comment. Default 15s.
	KeepAlive time.Duration
}

// defaultKeepAlive is below the 30 s after which common proxies close idle
// connections.
const defaultKeepAlive = 15 * time.Second

func (c *Config) applyDefaults() {
	if c.Traffic == nil {
		c.Traffic = func(string) ([]routing.QueueStatus, []routing.ReplicaStatus) { return nil, nil }
	}
	if c.InFlight == nil {
		c.InFlight = func(string, string, string) int { return 0 }
	}
	if c.Gateway == nil {
		c.Gateway = http.NotFoundHandler()
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Ready == nil {
		c.Ready = func(context.Context) error { return nil }
	}
	c.ArtifactMaxBytes = cmp.Or(c.ArtifactMaxBytes, c.Blobs.MaxBytes())
	c.KeepAlive = cmp.Or(c.KeepAlive, defaultKeepAlive)
}
