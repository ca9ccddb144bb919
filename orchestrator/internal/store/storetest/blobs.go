package storetest

import (
	"context"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// digestOf is the digest of nothing, made of one digit.
func digestOf(digit string) blob.Digest { return blob.Digest("sha256:" + strings.Repeat(digit, 64)) }

// withBlobs is a job that is given blobs.
func withBlobs(n int, digests ...blob.Digest) job.Job {
	j := newJob(n)
	for i, digest := range digests {
		j.Spec.Container.Files = append(j.Spec.Container.Files, job.File{
			Path: "/in/" + string(rune('a'+i)), Blob: digest, Size: 5 << 30, Mode: 0o644,
		})
	}
	return j
}

func testBlobs(t *testing.T, im Implementation) {
	s := open(t, im)
	a, b, c := digestOf("a"), digestOf("b"), digestOf("c")
	inUse := func(want ...blob.Digest) {
		t.Helper()
		got, err := s.BlobsInUse(t.Context(), []blob.Digest{a, b, c})
		ok(t, err)
		wanted := map[blob.Digest]bool{}
		for _, digest := range want {
			wanted[digest] = true
		}
		same(t, "blobs in use", wanted, got)
	}
	inUse()
	first := submit(t, s, withBlobs(1, a, b, a))
	same(t, "stored job", first, get(t, s, first.ID))
	inUse(a, b)
	array := newArray(2, 2, "array-a")
	for i := range array {
		array[i].Spec = withBlobs(0, c).Spec
	}
	_, _, err := s.SubmitJobs(t.Context(), array)
	ok(t, err)
	keyed := withBlobs(5, b)
	keyed.IdempotencyKey = "k"
	submit(t, s, keyed)
	keyed = withBlobs(6, a)
	keyed.IdempotencyKey = "k"
	_, created, err := s.SubmitJob(t.Context(), keyed)
	if ok(t, err); created {
		t.Error("a job was made although its key is taken")
	}

	remove := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			must(t)(s.CancelJob(t.Context(), id, "", epoch))
		}
		deleted, err := s.DeleteEnded(t.Context(), epoch.AddDate(0, 0, 1), 10)
		ok(t, err)
		same(t, "deleted", ids, deleted)
	}
	remove("job-0001")
	inUse(b, c)
	remove("job-0002")
	inUse(b, c)
	remove("job-0003", "job-0005")
	inUse()

	_, err = s.BlobsInUse(doneContext(t), []blob.Digest{a})
	if err == nil {
		t.Error("answered although the context was done")
	}
}

func doneContext(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
