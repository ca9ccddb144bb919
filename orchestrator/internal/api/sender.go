package api

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// The metadata keys by which streams of node agents say whose they are.
const (
	keyNodeID     = "orchion-node-id"
	keyInstanceID = "orchion-instance-id"
	keyTunnelID   = "orchion-tunnel-id"
	keyJobID      = "orchion-job-id"
	keyAttempt    = "orchion-attempt"
)

// openTimeout is how long a node may take to say the first word on a stream.
const openTimeout = 30 * time.Second

// sendingNode answers which node opened a stream. Errors: Invalid, and those
// of the registry when the node is not active or is another instance's.
func (c *Config) sendingNode(ctx context.Context) (string, error) {
	nodeID, instanceID := metadataValue(ctx, keyNodeID), metadataValue(ctx, keyInstanceID)
	if nodeID == "" {
		return "", fault.BadField(keyNodeID, "must be given as metadata")
	}
	if err := checkID(keyNodeID, nodeID); err != nil {
		return "", err
	}
	if err := checkText(keyInstanceID, instanceID, maxInstanceID); err != nil {
		return "", err
	}
	if err := c.Nodes.Check(nodeID, instanceID); err != nil {
		return "", err
	}
	return nodeID, nil
}

func metadataValue(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// attemptInMetadata reads which attempt a stream is about.
func attemptInMetadata(ctx context.Context) (job.Ref, error) {
	id := metadataValue(ctx, keyJobID)
	if err := checkJobID(keyJobID, id); err != nil {
		return job.Ref{}, err
	}
	number, err := strconv.ParseInt(metadataValue(ctx, keyAttempt), 10, 32)
	if err != nil || number < 1 {
		return job.Ref{}, fault.BadField(keyAttempt, "must be a number from 1")
	}
	return job.Ref{JobID: id, Attempt: int(number)}, nil
}

// openAttempt waits for the message that opens a stream about one attempt, and answers
// which: the sending node's own.
func openAttempt[O interface {
	comparable
	GetRef() *orchionv1.AttemptRef
}, M interface{ GetOpen() O }](ctx context.Context, cfg *Config, in *inbox[M]) (job.Ref, error) {
	var none job.Ref
	nodeID, err := cfg.sendingNode(ctx)
	if err != nil {
		return none, err
	}
	first, err := in.first(ctx, "open")
	if err != nil {
		return none, err
	}
	var missing O
	if first.GetOpen() == missing {
		return none, fault.BadField("open", "must be the first message of the stream")
	}
	ref, err := refFromProto("open.ref", first.GetOpen().GetRef())
	if err != nil {
		return none, err
	}
	if !cfg.Jobs.HoldsAttempt(nodeID, ref) {
		return none, fault.New(fault.Precondition, "%s is not node %s's, or has ended", ref, nodeID)
	}
	return ref, nil
}

// inbox receives a stream's messages in a goroutine of its own, so that its
// reader can wait for other things as well. The goroutine ends with the
// stream, that is at the latest when the stream's handler returns.
type inbox[T any] struct {
	messages chan T
	err      error // why messages was closed; set before
}

func receive[T any](ctx context.Context, recv func() (T, error)) *inbox[T] {
	in := &inbox[T]{messages: make(chan T)}
	go func() {
		defer close(in.messages)
		for {
			m, err := recv()
			if err != nil {
				in.err = err
				return
			}
			select {
			case in.messages <- m:
			case <-ctx.Done():
				in.err = context.Cause(ctx)
				return
			}
		}
	}()
	return in
}

// first waits for the message that opens a stream.
func (in *inbox[T]) first(ctx context.Context, what string) (T, error) {
	return in.next(ctx, what, openTimeout)
}

// next waits so long for the next message, which carries what is named.
func (in *inbox[T]) next(ctx context.Context, what string, patience time.Duration) (T, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var none T
	select {
	case m, ok := <-in.messages:
		if !ok {
			return none, in.err
		}
		return m, nil
	case <-timer.C:
		return none, unsaid(what, patience)
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// unsaid is what ends a stream on which something was waited for in vain.
func unsaid(what string, patience time.Duration) error {
	return fault.BadField(what, "was not sent within %v", patience)
}
