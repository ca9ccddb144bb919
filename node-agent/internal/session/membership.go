package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// callTimeout bounds one registration or heartbeat.
	callTimeout = 10 * time.Second
	// usageTimeout bounds measuring the utilisation before a heartbeat: with a wedged driver
	// the meters of GPUs hang, and the heart must beat without them.
	usageTimeout = 2 * time.Second
	// retryLimit is the longest pause between tries to reach the orchestrator.
	retryLimit = 3 * time.Second
	// Bounds on the period that the orchestrator dictates, against one that is broken.
	minHeartbeat = 100 * time.Millisecond
	maxHeartbeat = 10 * time.Minute
)

// MembershipConfig says who registers and what it says. All fields but HeartbeatInterval
// are needed.
type MembershipConfig struct {
	Client     orchionv1.OrchestratorClient
	NodeID     string
	InstanceID string
	// HeartbeatInterval is the wish; the orchestrator decides. 0: 5 s.
	HeartbeatInterval time.Duration
	// Describe gives the node as it is now; it is asked at each registration.
	Describe func(context.Context) *orchionv1.Node
	// Usage gives live utilisation, nil when it cannot be had; it is asked at each heartbeat.
	Usage  func(context.Context) *orchionv1.NodeUsage
	Reach  *Reach
	Logger *slog.Logger
}

// Membership keeps a node registered and its heart beating.
type Membership struct {
	cfg   MembershipConfig
	again chan struct{} // asks for a new registration; holds at most one request

	leaving   chan struct{} // closed by Leave
	leaveOnce sync.Once

	mu         sync.Mutex    // guards what follows
	registered chan struct{} // closed while registered
	leaseTTL   time.Duration
	carrier    *carrier // nil: heartbeats are calls of their own
}

// carrier is a stream that takes heartbeats.
type carrier struct {
	send     func(*orchionv1.NodeUsage) // does not block
	interval time.Duration
}

// NewMembership makes a Membership; Run does the work.
func NewMembership(cfg MembershipConfig) *Membership {
	if cfg.HeartbeatInterval <= 0 {
		cfg.HeartbeatInterval = 5 * time.Second
	}
	return &Membership{
		cfg: cfg, again: make(chan struct{}, 1), leaving: make(chan struct{}), registered: make(chan struct{}),
	}
}

// Run registers the node and beats until ctx ends, and then returns nil. It returns
// [ErrSuperseded] when another agent took the id over, and an error when the orchestrator
// says that the registration itself is wrong.
func (m *Membership) Run(ctx context.Context) error {
	for {
		interval, err := m.register(ctx)
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		if err := m.beat(ctx, interval); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
}

// ignoreEnd drops an error that only says that ctx ended.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ErrSuperseded) {
		return nil
	}
	return err
}

// Wait blocks until the node is registered and gives the lease TTL that came with it.
func (m *Membership) Wait(ctx context.Context) (time.Duration, error) {
	m.mu.Lock()
	registered := m.registered
	m.mu.Unlock()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-registered:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leaseTTL, nil
}

// Lost says that the orchestrator does not know the node any more, and asks for a new
// registration. It does not block.
func (m *Membership) Lost() {
	m.unregistered()
	m.Renew()
}

// Renew asks for a new registration because what Describe tells has changed. It does not
// block.
func (m *Membership) Renew() {
	select {
	case m.again <- struct{}{}:
	default:
	}
}

// carry has heartbeats sent with send until the answer is called, one in each interval.
// Whoever carries them calls Lost when the orchestrator says that it does not know the
// node.
func (m *Membership) carry(interval time.Duration, send func(*orchionv1.NodeUsage)) (stop func()) {
	c := &carrier{send: send, interval: m.period(durationpb.New(interval))}
	m.mu.Lock()
	m.carrier = c
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.carrier == c {
			m.carrier = nil
		}
	}
}

// Leave tells the orchestrator that this node goes, so that it need not wait to miss it.
// From then on the node neither beats nor registers again.
func (m *Membership) Leave(ctx context.Context, reason string) error {
	m.leaveOnce.Do(func() { close(m.leaving) })
	m.unregistered()
	_, err := m.cfg.Client.DeregisterNode(ctx, &orchionv1.DeregisterNodeRequest{
		NodeId: m.cfg.NodeID, InstanceId: m.cfg.InstanceID, Reason: reason,
	})
	if err != nil {
		return fmt.Errorf("tell the orchestrator that this node leaves: %w", err)
	}
	return nil
}

// register tries until the orchestrator accepts and gives the time to the first heartbeat.
func (m *Membership) register(ctx context.Context) (time.Duration, error) {
	// A request from before this registration is answered by it.
	select {
	case <-m.again:
	default:
	}
	wait := newBackOff(retryLimit)
	for {
		select {
		case <-m.leaving:
			<-ctx.Done()
			return 0, ctx.Err()
		default:
		}
		interval, err := m.registerOnce(ctx)
		if err == nil {
			return interval, nil
		}
		switch status.Code(err) {
		case codes.InvalidArgument, codes.Unimplemented:
			return 0, fmt.Errorf("the orchestrator refuses this node: %s", status.Convert(err).Message())
		case codes.Aborted:
			return 0, ErrSuperseded
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		m.cfg.Reach.Failed(err)
		if !pause(ctx, wait.NextBackOff(), nil) {
			return 0, ctx.Err()
		}
	}
}

func (m *Membership) registerOnce(ctx context.Context) (time.Duration, error) {
	node := m.cfg.Describe(ctx)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := m.cfg.Client.RegisterNode(ctx, &orchionv1.RegisterNodeRequest{
		Node:              node,
		InstanceId:        m.cfg.InstanceID,
		HeartbeatInterval: durationpb.New(m.cfg.HeartbeatInterval),
	})
	if err != nil {
		return 0, err
	}
	m.cfg.Reach.Succeeded()
	m.cfg.Logger.Info("registered with the orchestrator", "node", m.cfg.NodeID, "hostname", node.GetHostname())
	m.mu.Lock()
	m.leaseTTL = answer.GetLeaseTtl().AsDuration()
	select {
	case <-m.registered:
	default:
		close(m.registered)
	}
	m.mu.Unlock()
	return m.period(answer.GetHeartbeatInterval()), nil
}

// beat sends heartbeats until the node has to register again, and then returns nil.
func (m *Membership) beat(ctx context.Context, interval time.Duration) error {
	wait := newBackOff(min(interval, retryLimit))
	next := interval
	for {
		again, err := m.sleep(ctx, next)
		if err != nil || again {
			return err
		}
		period, err := m.beatOnce(ctx)
		switch {
		case err == nil:
			wait = newBackOff(min(period, retryLimit))
			next = period
		case ctx.Err() != nil:
			return ctx.Err()
		case superseded(err):
			return ErrSuperseded
		case status.Code(err) == codes.NotFound:
			m.unregistered()
			return nil
		default:
			m.cfg.Reach.Failed(err)
			next = wait.NextBackOff()
		}
	}
}

// sleep waits for d and says whether a new registration was asked for meanwhile.
func (m *Membership) sleep(ctx context.Context, d time.Duration) (again bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-m.leaving:
		<-ctx.Done()
		return false, ctx.Err()
	case <-m.again:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

func (m *Membership) beatOnce(ctx context.Context) (time.Duration, error) {
	measuring, measured := context.WithTimeout(ctx, usageTimeout)
	usage := m.cfg.Usage(measuring)
	measured()
	m.mu.Lock()
	c := m.carrier
	m.mu.Unlock()
	if c != nil {
		c.send(usage)
		return jitter(c.interval), nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := m.cfg.Client.Heartbeat(ctx, &orchionv1.HeartbeatRequest{
		NodeId: m.cfg.NodeID, InstanceId: m.cfg.InstanceID, Usage: usage,
	})
	if err != nil {
		return 0, err
	}
	m.cfg.Reach.Succeeded()
	return m.period(answer.GetHeartbeatInterval()), nil
}

// jitter takes up to a tenth off a period, so that nodes that began together do not beat
// together for ever.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/10)) //nolint:gosec // spreading load needs no secret randomness
}

func (m *Membership) unregistered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.registered:
		m.registered = make(chan struct{})
	default:
	}
}

// period reads the period that the orchestrator dictates.
func (m *Membership) period(d *durationpb.Duration) time.Duration {
	if d == nil || d.AsDuration() <= 0 {
		return m.cfg.HeartbeatInterval
	}
	return min(max(d.AsDuration(), minHeartbeat), maxHeartbeat)
}
