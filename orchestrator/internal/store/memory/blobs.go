package memory

import (
	"context"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// BlobsInUse answers which of some blobs are input files, of jobs or schedules,
// or artifacts.
func (s *Store) BlobsInUse(ctx context.Context, digests []blob.Digest) (map[blob.Digest]bool, error) {
	used := map[blob.Digest]bool{}
	err := s.do(ctx, func() error {
		given := func(spec *job.Spec) {
			for _, digest := range spec.Blobs() {
				if slices.Contains(digests, digest) {
					used[digest] = true
				}
			}
		}
		for _, j := range s.jobs {
			given(&j.Spec)
		}
		for _, c := range s.schedules {
			given(&c.Template.Spec)
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
