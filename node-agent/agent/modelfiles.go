package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/session"
)

// peers lets Ollama get models from other nodes.
type peers struct{ files *session.ModelFiles }

func (p peers) Manifest(ctx context.Context, replicaID string, awaited func(nodeID string)) (manifest []byte, nodeID string, err error) {
	manifest, nodeID, err = p.files.Manifest(ctx, replicaID, awaited)
	return manifest, nodeID, withoutPeer(err)
}

func (p peers) File(ctx context.Context, replicaID, digest string, progress func(bytes int64)) (ollama.PeerFile, error) {
	file, err := p.files.Get(ctx, replicaID, digest, progress)
	if err != nil {
		return nil, withoutPeer(err)
	}
	return file, nil
}

// withoutPeer says in the words of package ollama that no node has a model.
func withoutPeer(err error) error {
	if errors.Is(err, session.ErrNoBlob) {
		return fmt.Errorf("%w: %w", ollama.ErrNoPeer, err)
	}
	return err
}
