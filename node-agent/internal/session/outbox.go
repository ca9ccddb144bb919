package session

import (
	"sync"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxTunnels bounds what waits to be told of tunnels; the orchestrator gives up on a
// tunnel by itself, so what is beyond may be dropped.
const maxTunnels = 4096

// attemptKey names an attempt as a key of a map.
type attemptKey struct {
	jobID   string
	attempt int32
}

func keyOf(ref *orchionv1.AttemptRef) attemptKey {
	return attemptKey{jobID: ref.GetJobId(), attempt: ref.GetAttempt()}
}

// outbox holds what waits to be sent on the Connect stream: of each attempt and replica
// the latest status only, because the orchestrator needs to know where things stand and
// not every step on the way.
type outbox struct {
	kick chan struct{} // readable when there is something to send

	mu       sync.Mutex // guards what follows
	attempts map[attemptKey]*orchionv1.AttemptStatus
	replicas map[string]*orchionv1.ReplicaStatus
	tunnels  []*orchionv1.ConnectRequest // that were refused, or need not be
	engines  *orchionv1.EnginesChanged
	usage    *orchionv1.NodeUsage
	images   *orchionv1.ImagesChanged
	renew    bool
	// lastEngines and lastImages are what was said of them last, whether or not it arrived.
	lastEngines *orchionv1.EnginesChanged
	lastImages  *orchionv1.ImagesChanged
}

func newOutbox() *outbox {
	o := &outbox{kick: make(chan struct{}, 1)}
	o.reset()
	return o
}

// reset forgets all but the engines and images: a new stream begins with a hello that says
// where everything else stands. These are not in the hello, and what was said last may have
// been lost with the stream, which need not cost the node its registration.
func (o *outbox) reset() {
	o.mu.Lock()
	o.attempts = map[attemptKey]*orchionv1.AttemptStatus{}
	o.replicas = map[string]*orchionv1.ReplicaStatus{}
	o.tunnels, o.usage, o.renew = nil, nil, false
	o.engines, o.images = o.lastEngines, o.lastImages
	again := o.engines != nil || o.images != nil
	o.mu.Unlock()
	if again {
		o.add(func() {})
	}
}

func (o *outbox) add(change func()) {
	o.mu.Lock()
	change()
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func (o *outbox) putAttempt(s *orchionv1.AttemptStatus) {
	o.add(func() { o.attempts[keyOf(s.GetRef())] = s })
}

func (o *outbox) putReplica(s *orchionv1.ReplicaStatus) {
	o.add(func() { o.replicas[s.GetReplicaId()] = s })
}

func (o *outbox) putEngines(e *orchionv1.EnginesChanged) {
	o.add(func() { o.engines, o.lastEngines = e, e })
}

func (o *outbox) putImages(i *orchionv1.ImagesChanged) {
	o.add(func() { o.images, o.lastImages = i, i })
}

func (o *outbox) putTunnel(answer *orchionv1.ConnectRequest) {
	o.add(func() {
		if len(o.tunnels) < maxTunnels {
			o.tunnels = append(o.tunnels, answer)
		}
	})
}

// putUsage has a heartbeat sent.
func (o *outbox) putUsage(u *orchionv1.NodeUsage) {
	o.add(func() { o.usage = u })
}

// askRenewal asks for the leases to be renewed now.
func (o *outbox) askRenewal() {
	o.add(func() { o.renew = true })
}

// take gives all that waits, in the order to send it, and says whether the leases are to
// be renewed as well.
func (o *outbox) take() (messages []*orchionv1.ConnectRequest, renew bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, s := range o.attempts {
		messages = append(messages, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_AttemptStatus{AttemptStatus: s}})
		delete(o.attempts, key)
	}
	for id, s := range o.replicas {
		messages = append(messages, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_ReplicaStatus{ReplicaStatus: s}})
		delete(o.replicas, id)
	}
	messages = append(messages, o.tunnels...)
	if o.engines != nil {
		messages = append(messages, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_EnginesChanged{EnginesChanged: o.engines}})
	}
	if o.usage != nil {
		messages = append(messages, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Heartbeat{Heartbeat: o.usage}})
	}
	if o.images != nil {
		messages = append(messages, &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_ImagesChanged{ImagesChanged: o.images}})
	}
	renew = o.renew
	o.tunnels, o.engines, o.images, o.usage, o.renew = nil, nil, nil, nil, false
	return messages, renew
}
