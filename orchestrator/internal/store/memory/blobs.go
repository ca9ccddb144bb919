package memory

import (
	"context"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/blob"
)

// BlobsInUse answers which of some blobs are input files or artifacts.
func (s *Store) BlobsInUse(ctx context.Context, digests []blob.Digest) (map[blob.Digest]bool, error) {
	used := map[blob.Digest]bool{}
	err := s.do(ctx, func() error {
		for _, j := range s.jobs {
			for _, digest := range j.Spec.Blobs() {
				if slices.Contains(digests, digest) {
					used[digest] = true
				}
			}
		}
		for _, set := range s.artifacts {
			for _, a := range set.list {
				if slices.Contains(digests, a.Digest) {
					used[a.Digest] = true
				}
			}
		}
		return nil
	})
	return used, err
}
