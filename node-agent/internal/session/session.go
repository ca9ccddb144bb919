// Package session is a node agent's conversation with the orchestrator: its membership
// (registration and heartbeats), the one Connect stream that carries assignments and
// status, and the streams that carry the logs of attempts.
//
// Everything here expects the orchestrator to go away and come back. A lost connection is
// never an end: what was not acknowledged is said again, and leases, not connections,
// decide what may run. Only a person's doing ends it: another node agent that took over
// this node's id, or a registration that the orchestrator calls wrong.
package session

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ErrSuperseded says that another node agent has registered this node's id. The last
// registration wins, so this agent must stop: two of them would fight over the same jobs.
var ErrSuperseded = errors.New("another node agent has registered with this node id and has taken its place; " +
	"stop that one, or give one of them an id of its own with --node-id and --data-dir")

// Metadata keys that name the caller in every call.
const (
	metadataNodeID     = "orchion-node-id"
	metadataInstanceID = "orchion-instance-id"
)

// MaxMessageBytes bounds a message from the orchestrator: an assignment set of as many jobs
// as a node ever holds (256) fits, with all that one may carry (1 MiB of files, as much again
// in arguments and environment).
const MaxMessageBytes = 512 << 20

// Identify gives the options that make a connection name its node in every call.
func Identify(nodeID, instanceID string) []grpc.DialOption {
	name := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, metadataNodeID, nodeID, metadataInstanceID, instanceID)
	}
	unary := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(name(ctx), method, req, reply, cc, opts...)
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(name(ctx), desc, cc, method, opts...)
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}

// newBackOff waits between tries: from 200 ms, jittered, to at most limit.
func newBackOff(limit time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = min(200*time.Millisecond, limit)
	b.MaxInterval = limit
	b.Multiplier = 2
	b.RandomizationFactor = 0.3
	b.Reset()
	return b
}

// pause waits for d, or less when the context ends or enough is closed, and says whether
// the context still lives.
func pause(ctx context.Context, d time.Duration, enough <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-enough:
	}
	return ctx.Err() == nil
}

// superseded says whether an answer means that another agent took this one's place.
func superseded(err error) bool { return status.Code(err) == codes.Aborted }
