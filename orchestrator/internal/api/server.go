package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Server is the gRPC server and the HTTP handler of one orchestrator.
type Server struct {
	cfg     *Config
	grpc    *grpc.Server
	http    http.Handler
	health  *health.Server
	metrics *metrics
	// closing ends when streams are to end; the cause is errShuttingDown.
	closing context.Context
	close   context.CancelCauseFunc
}

// New makes the servers. Close ends what they still do.
func New(cfg Config) (*Server, error) {
	cfg.applyDefaults()
	s := &Server{cfg: &cfg, health: health.NewServer(), metrics: newMetrics(&cfg)}
	s.closing, s.close = context.WithCancelCause(context.Background())
	if err := s.metrics.register(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}

	logs := &logReader{store: cfg.JobStore, logs: cfg.Logs}
	inProcess := newInProcess(s.unary)
	s.grpc = grpc.NewServer(s.grpcOptions()...)
	for _, registrar := range []grpc.ServiceRegistrar{s.grpc, inProcess} {
		orchionv1.RegisterOrchestratorServer(registrar, &nodes{cfg: &cfg})
		orchionv1.RegisterJobsServer(registrar, &jobs{cfg: &cfg, logs: logs})
		orchionv1.RegisterQueuesServer(registrar, &queues{cfg: &cfg})
		orchionv1.RegisterSchedulesServer(registrar, &schedules{cfg: &cfg})
		orchionv1.RegisterDeploymentsServer(registrar, &deployments{cfg: &cfg})
		orchionv1.RegisterModelsServer(registrar, &models{cfg: &cfg})
		orchionv1.RegisterArtifactsServer(registrar, &artifacts{cfg: &cfg})
		orchionv1.RegisterGatewayServer(registrar, &gatewayService{cfg: &cfg})
		orchionv1.RegisterUsageServer(registrar, &usageReports{cfg: &cfg})
		orchionv1.RegisterEventsServer(registrar, &watch{cfg: &cfg})
	}
	orchionv1.RegisterBlobsServer(s.grpc, &blobs{cfg: &cfg})
	orchionv1.RegisterNodeSessionServer(s.grpc, &sessions{cfg: &cfg, closing: s.closing})
	orchionv1.RegisterArtifactSessionServer(s.grpc, &artifactSessions{cfg: &cfg})
	orchionv1.RegisterTunnelServer(s.grpc, &tunnels{cfg: &cfg})
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)

	handler, err := s.newHTTP(inProcess, logs)
	if err != nil {
		return nil, err
	}
	s.http = handler
	return s, nil
}

// GRPC is the gRPC server, to be served, and stopped after Close.
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// HTTP is the handler of everything over HTTP.
func (s *Server) HTTP() http.Handler { return s.http }

// Close ends all streams with UNAVAILABLE, so that the servers can be stopped
// gracefully. It may be called again.
func (s *Server) Close() {
	s.health.Shutdown()
	s.close(errShuttingDown)
}

// statusOf is statusOf with unexpected errors put into the log.
func (s *Server) statusOf(ctx context.Context, method string, err error) *status.Status {
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, errShuttingDown) {
		err = cause
	}
	st, unexpected := statusOf(err)
	switch {
	case unexpected:
		s.cfg.Logger.ErrorContext(ctx, "call failed", "method", method, "error", err)
	case st.Code() == codes.Unavailable:
		s.cfg.Logger.WarnContext(ctx, "call could not be served", "method", method, "error", err)
	}
	return st
}

// untilClosing gives a context that also ends when the server closes.
func (s *Server) untilClosing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closing, func() { cancel(errShuttingDown) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
