package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

const (
	// defaultLeaseTTL is assumed until the orchestrator names its own.
	defaultLeaseTTL = 30 * time.Second
	// renewalsPerTTL is how often a lease is renewed in its lifetime: two renewals may get
	// lost before it runs out.
	renewalsPerTTL = 3
	// maxUnanswered bounds the renewals whose time of asking is kept; older ones have been
	// overtaken.
	maxUnanswered = 16
	// settled is how long a stream must have held for the next one to be opened at once.
	settled = 10 * time.Second
)

// Worker is who does what the orchestrator says. Its methods are called one at a time, in
// the order of the messages, and must not block.
type Worker interface {
	// Held says what the node holds, for the hello of a new stream.
	Held() *orchionv1.Hello
	// Leases names the attempts whose leases are to be renewed.
	Leases() []*orchionv1.AttemptRef

	// Assign gives all that the node should run; what it runs besides must go.
	Assign(set *orchionv1.AssignmentSet)
	AssignJob(*orchionv1.JobAssignment)
	CancelAttempt(*orchionv1.CancelAttempt)
	AssignReplica(*orchionv1.ReplicaAssignment)
	RemoveReplica(replicaID string)
	// LeasesRenewed answers a renewal that was asked for at the time given: leases last
	// from then.
	LeasesRenewed(answer *orchionv1.LeasesRenewed, asked time.Time)
	AttemptAcknowledged(*orchionv1.AttemptAcknowledged)
}

// StreamConfig says what a Stream speaks with. All fields are needed.
type StreamConfig struct {
	Client     orchionv1.NodeSessionClient
	Membership *Membership
	// OpenTunnel serves a tunnel that the orchestrator asks for. It must not block.
	OpenTunnel func(*orchionv1.OpenTunnel)
	Reach      *Reach
	Logger     *slog.Logger
}

// Stream keeps the Connect stream open and says on it what is reported.
type Stream struct {
	cfg StreamConfig
	out *outbox

	mu       sync.Mutex // guards what follows
	leaseTTL time.Duration
	sequence uint64               // of the last renewal asked for
	asked    map[uint64]time.Time // when each unanswered renewal was asked for
}

// NewStream makes a Stream; Run does the work.
func NewStream(cfg StreamConfig) *Stream {
	return &Stream{cfg: cfg, out: newOutbox(), leaseTTL: defaultLeaseTTL}
}

// ReportAttempt says where an attempt stands, soon. The worker must hold the same already,
// for the hello of the next stream.
func (s *Stream) ReportAttempt(st *orchionv1.AttemptStatus) { s.out.putAttempt(st) }

// ReportReplica says where a replica stands, soon. The worker must hold the same already.
func (s *Stream) ReportReplica(st *orchionv1.ReplicaStatus) { s.out.putReplica(st) }

// ReportEngines says which engines the node adopts now, and says it again on the next
// stream: it may have been lost with this one.
func (s *Stream) ReportEngines(engines []*orchionv1.LocalEngine) {
	s.out.putEngines(&orchionv1.EnginesChanged{Engines: engines})
}

// ReportImages says which container images the node has now, and says it again on the next
// stream.
func (s *Stream) ReportImages(names []string) {
	s.out.putImages(&orchionv1.ImagesChanged{Images: names})
}

// RefuseTunnel says that a tunnel cannot be opened, and why.
func (s *Stream) RefuseTunnel(tunnelID, reason string) {
	s.out.putTunnel(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_TunnelRefused{
		TunnelRefused: &orchionv1.TunnelRefused{TunnelId: tunnelID, Reason: reason},
	}})
}

// TunnelDirect says where the orchestrator itself reaches what a tunnel was to lead to.
func (s *Stream) TunnelDirect(tunnelID, address string) {
	s.out.putTunnel(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_TunnelDirect{
		TunnelDirect: &orchionv1.TunnelDirect{TunnelId: tunnelID, Address: address},
	}})
}

// Run keeps a stream open until ctx ends, and then returns nil. It returns [ErrSuperseded]
// when another agent took the node's id over.
func (s *Stream) Run(ctx context.Context, w Worker) error {
	wait := newBackOff(retryLimit)
	for {
		ttl, err := s.cfg.Membership.Wait(ctx)
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		s.setLeaseTTL(ttl)
		began := time.Now()
		err = s.connect(ctx, w)
		switch {
		case superseded(err):
			return ErrSuperseded
		case ctx.Err() != nil:
			return ignoreEnd(ctx, err)
		}
		s.ended(err)
		if time.Since(began) >= settled {
			wait.Reset()
		}
		if !pause(ctx, wait.NextBackOff(), s.cfg.Reach.returned()) {
			return nil
		}
	}
}

// ended takes note of why a stream ended.
func (s *Stream) ended(err error) {
	switch status.Code(err) {
	case codes.NotFound:
		s.cfg.Membership.Lost()
	case codes.Unavailable, codes.DeadlineExceeded:
		s.cfg.Reach.Failed(err)
	default:
		s.cfg.Logger.Warn("the assignment stream broke, opening a new one", "error", err)
	}
}

var errStreamClosed = status.Error(codes.Unavailable, "the orchestrator closed the stream")

// connect opens one stream and serves it until it breaks.
func (s *Stream) connect(ctx context.Context, w Worker) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Whichever of sender and receiver fails first ends the stream, and with it the other.
	group, ctx := errgroup.WithContext(ctx)
	stream, err := s.cfg.Client.Connect(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.asked = map[uint64]time.Time{}
	s.mu.Unlock()
	// The outbox is emptied first: what is reported from now on is sent after the hello,
	// at worst a second time.
	s.out.reset()
	hello := &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: w.Held()}}
	if err := s.send(stream, hello); err != nil {
		return err
	}
	group.Go(func() error {
		err := s.receive(stream, w)
		if errors.Is(err, io.EOF) {
			return errStreamClosed
		}
		return err
	})
	group.Go(func() error {
		err := s.serveOutbox(ctx, stream, w)
		if errors.Is(err, io.EOF) {
			return nil // the stream has broken, and the receiver knows why
		}
		return err
	})
	return group.Wait()
}

type connectStream interface {
	Context() context.Context
	Send(*orchionv1.ConnectRequest) error
	Recv() (*orchionv1.ConnectResponse, error)
}

// send sends one message. On a broken stream the receiver knows the reason, so it is the
// receiver's error that counts.
func (s *Stream) send(stream connectStream, m *orchionv1.ConnectRequest) error {
	err := stream.Send(m)
	if errors.Is(err, io.EOF) {
		_, err = stream.Recv()
	}
	return err
}

// serveOutbox sends what is reported, and renews the leases in time.
func (s *Stream) serveOutbox(ctx context.Context, stream connectStream, w Worker) error {
	renewal := time.NewTimer(s.renewalPeriod())
	defer renewal.Stop()
	for {
		renew := false
		select {
		case <-ctx.Done():
			return nil
		case <-renewal.C:
			renew = true
		case <-s.out.kick:
		}
		messages, asked := s.out.take()
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		if !renew && !asked {
			continue
		}
		if refs := w.Leases(); len(refs) > 0 {
			if err := stream.Send(s.renewal(refs)); err != nil {
				return err
			}
		}
		renewal.Reset(s.renewalPeriod())
	}
}

// renewal makes a request to renew leases and notes when it was made: the time from which
// the answer counts.
func (s *Stream) renewal(refs []*orchionv1.AttemptRef) *orchionv1.ConnectRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	s.asked[s.sequence] = time.Now()
	for n := range s.asked {
		if n+maxUnanswered <= s.sequence {
			delete(s.asked, n)
		}
	}
	return &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_RenewLeases{
		RenewLeases: &orchionv1.RenewLeases{Sequence: s.sequence, Attempts: refs},
	}}
}

func (s *Stream) renewalPeriod() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaseTTL / renewalsPerTTL
}

func (s *Stream) setLeaseTTL(ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaseTTL = ttl
}

// receive hands on what the orchestrator says until the stream ends.
func (s *Stream) receive(stream connectStream, w Worker) error {
	stop := func() {}
	defer func() { stop() }()
	for expect := uint64(1); ; expect++ {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if ask := m.GetOpenTunnel(); ask != nil && !loopback.IsPeer(stream.Context()) {
			ask.Place = nil // which is elsewhere
		}
		if m.GetSequence() != expect {
			return fmt.Errorf("message %d came where %d was due", m.GetSequence(), expect)
		}
		if expect == 1 && m.GetAssignments() == nil {
			return fmt.Errorf("the stream began with %T instead of the assignments", m.GetMessage())
		}
		if interval := m.GetAssignments().GetHeartbeatInterval(); interval != nil {
			stop = s.cfg.Membership.carry(interval.AsDuration(), s.out.putUsage)
		}
		s.handle(m, w)
	}
}

func (s *Stream) handle(m *orchionv1.ConnectResponse, w Worker) {
	switch m := m.GetMessage().(type) {
	case *orchionv1.ConnectResponse_Assignments:
		s.cfg.Reach.Succeeded()
		w.Assign(m.Assignments)
		// A lease may have aged on its way here: it counts once it was renewed.
		s.out.askRenewal()
	case *orchionv1.ConnectResponse_AssignJob:
		s.setLeaseTTL(m.AssignJob.GetLeaseTtl().AsDuration())
		w.AssignJob(m.AssignJob)
		s.out.askRenewal()
	case *orchionv1.ConnectResponse_CancelAttempt:
		w.CancelAttempt(m.CancelAttempt)
	case *orchionv1.ConnectResponse_AssignReplica:
		w.AssignReplica(m.AssignReplica)
	case *orchionv1.ConnectResponse_RemoveReplica:
		w.RemoveReplica(m.RemoveReplica.GetReplicaId())
	case *orchionv1.ConnectResponse_LeasesRenewed:
		s.leasesRenewed(m.LeasesRenewed, w)
	case *orchionv1.ConnectResponse_AttemptAcknowledged:
		w.AttemptAcknowledged(m.AttemptAcknowledged)
	case *orchionv1.ConnectResponse_OpenTunnel:
		s.cfg.OpenTunnel(m.OpenTunnel)
	default:
		// From an orchestrator newer than this agent. What it cannot do without, it must
		// not send to an agent of this version.
		s.cfg.Logger.Warn("ignoring a message this version does not know; update this node agent")
	}
}

func (s *Stream) leasesRenewed(answer *orchionv1.LeasesRenewed, w Worker) {
	s.setLeaseTTL(answer.GetLeaseTtl().AsDuration())
	s.mu.Lock()
	asked, known := s.asked[answer.GetSequence()]
	delete(s.asked, answer.GetSequence())
	s.mu.Unlock()
	if !known {
		s.cfg.Logger.Debug("ignoring the answer to a renewal that was overtaken", "sequence", answer.GetSequence())
		return
	}
	w.LeasesRenewed(answer, asked)
}
