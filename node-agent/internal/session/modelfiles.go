package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// maxManifest bounds what is taken for the manifest of a model.
	maxManifest = 4 << 20
	// keepPart is how long a part of a model is kept for a transfer that goes on with it.
	keepPart = 24 * time.Hour
)

// ModelFiles fetches the files of models from other nodes, through the orchestrator.
type ModelFiles struct {
	client orchionv1.NodeSessionClient
	blobs  *Blobs

	mu      sync.Mutex        // guards what follows
	replica map[string]string // for which a file is fetched, by digest
}

// NewModelFiles makes a ModelFiles that speaks through client and has a folder for itself,
// where it goes on with what an earlier run of the agent left.
func NewModelFiles(client orchionv1.NodeSessionClient, dir string, reach *Reach, logger *slog.Logger) *ModelFiles {
	m := &ModelFiles{client: client, replica: map[string]string{}}
	m.blobs = &Blobs{open: m.open, dir: dir, keepParts: true, reach: reach, logger: logger, held: map[string]*Blob{}}
	if err := removeOld(dir, time.Now().Add(-keepPart)); err != nil {
		logger.Warn("cannot remove parts of models that an earlier run of this agent left", "folder", dir, "error", err)
	}
	return m
}

// removeOld removes the files of a folder that were last written before a time.
func removeOld(dir string, before time.Time) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		info, statErr := entry.Info()
		if statErr == nil && info.ModTime().Before(before) {
			statErr = os.RemoveAll(filepath.Join(dir, entry.Name()))
		}
		err = errors.Join(err, statErr)
	}
	return err
}

// Manifest gives the manifest of a replica's model and the node it comes from. It waits
// while another node gets the model from outside, which awaited is told. ErrNoBlob: no node
// has it, so get it from outside. Other errors say the same for want of an answer.
func (m *ModelFiles) Manifest(ctx context.Context, replicaID string, awaited func(nodeID string)) (manifest []byte, nodeID string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.client.FetchModel(ctx, &orchionv1.FetchModelRequest{ReplicaId: replicaID})
	if err != nil {
		return nil, "", fmt.Errorf("fetch the manifest: %w", err)
	}
	var all bytes.Buffer
	for {
		answer, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return all.Bytes(), nodeID, nil
		case status.Code(err) == codes.NotFound:
			return nil, "", ErrNoBlob
		case err != nil:
			return nil, "", fmt.Errorf("fetch the manifest: %w", err)
		}
		switch message := answer.GetMessage().(type) {
		case *orchionv1.FetchModelResponse_Awaited:
			awaited(message.Awaited.GetNodeId())
		case *orchionv1.FetchModelResponse_Found:
			nodeID = message.Found.GetNodeId()
		case *orchionv1.FetchModelResponse_Data:
			all.Write(message.Data)
		}
		if all.Len() > maxManifest {
			return nil, "", fmt.Errorf("fetch the manifest: it is larger than %d MiB", maxManifest>>20)
		}
	}
}

// Get gives a file of a replica's model, verified, as Blobs.Get does. Release it; it is
// removed then.
func (m *ModelFiles) Get(ctx context.Context, replicaID, digest string, progress func(bytes int64)) (*Blob, error) {
	m.mu.Lock()
	m.replica[digest] = replicaID
	m.mu.Unlock()
	return m.blobs.Get(ctx, digest, progress)
}

func (m *ModelFiles) open(ctx context.Context, digest string, offset int64) (func() ([]byte, error), error) {
	m.mu.Lock()
	replicaID := m.replica[digest]
	m.mu.Unlock()
	stream, err := m.client.FetchModel(ctx, &orchionv1.FetchModelRequest{ReplicaId: replicaID, Digest: digest, Offset: offset})
	if err != nil {
		return nil, err
	}
	return func() ([]byte, error) {
		data, err := nextData(stream)
		if code := status.Code(err); code == codes.FailedPrecondition || code == codes.Unimplemented {
			return nil, fmt.Errorf("fetch a file of a model: %v", err) //nolint:errorlint // asking again will not help
		}
		return data, err
	}, nil
}

// nextData gives the next data of a file.
func nextData(stream grpc.ServerStreamingClient[orchionv1.FetchModelResponse]) ([]byte, error) {
	for {
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if data := answer.GetData(); len(data) > 0 {
			return data, nil
		}
	}
}
