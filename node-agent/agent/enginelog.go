package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// openLog finds the log of the container that serves a replica of this node.
func (n *node) openLog(ctx context.Context, ask *orchionv1.EngineLog) (tunnel.Log, error) {
	replica, ok := n.worker.Replica(ask.GetReplicaId())
	if !ok || n.engineLog == nil {
		return nil, fmt.Errorf("this node does not have replica %q", ask.GetReplicaId())
	}
	read, err := n.engineLog(ctx, replica)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, handle func(*orchionv1.LogEntry) error) error {
		return read(ctx, int(max(ask.GetTail(), 0)), ask.GetFollow(), func(e driver.LogEntry) error {
			entry := &orchionv1.LogEntry{Stream: string(e.Stream), Line: e.Index, Text: strings.ToValidUTF8(e.Text, "\uFFFD")}
			if !e.Time.IsZero() {
				entry.Time = timestamppb.New(e.Time)
			}
			return handle(entry)
		})
	}, nil
}

// Log finds the log of the container that serves a replica.
func (r *replicaRunner) Log(ctx context.Context, replica *orchionv1.ReplicaAssignment) (engine.Log, error) {
	e, err := r.engineOf(replica)
	if err != nil {
		return nil, err
	}
	logged, ok := e.(engine.Logged)
	if !ok {
		return nil, errors.New("its engine was not started by Orchion, and keeps its log itself")
	}
	return logged.Log(ctx, r.specOf(replica))
}
