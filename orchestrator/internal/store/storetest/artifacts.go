package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// left are artifacts of an attempt, with one digest.
func left(attempt int, digest blob.Digest, names ...string) []job.Artifact {
	var list []job.Artifact
	for i, name := range names {
		list = append(list, job.Artifact{
			Attempt: attempt, Name: name, Path: "/out/" + name, Digest: digest, Size: int64(i) + 1, Mode: 0o640,
		})
	}
	return list
}

func testArtifacts(t *testing.T, im Implementation) {
	s := open(t, im)
	ctx := t.Context()
	list := func(id string, f store.ArtifactFilter) []job.Artifact {
		t.Helper()
		got, err := s.ListArtifacts(ctx, id, f)
		ok(t, err)
		return got
	}
	a, b := digestOf("a"), digestOf("b")
	j := newJob(1)
	j.Spec.Container.Artifacts = []job.ArtifactSpec{{Path: "/out/**", Name: "all", Optional: true}}
	j.Spec.Retry.MaxAttempts = 2
	submit(t, s, j)
	ref := job.Ref{JobID: j.ID, Attempt: 1}
	wantFault(t, s.PutArtifacts(ctx, ref, nil, epoch), fault.Precondition,
		"attempt 1 of job job-0001 is not its newest, or has ended; it cannot leave artifacts")
	must(t)(s.ClaimJob(ctx, j.ID, "n1", epoch))
	same(t, "the spec", j.Spec.Container.Artifacts, get(t, s, j.ID).Spec.Container.Artifacts)

	ok(t, s.PutArtifacts(ctx, ref, left(1, a, "x", "old"), epoch))
	first := left(1, a, "a/b", "c", "ü")
	ok(t, s.PutArtifacts(ctx, ref, first, epoch.Add(time.Second)))
	same(t, "artifacts", first, list(j.ID, store.ArtifactFilter{Limit: 10}))
	must(t)(s.CompleteAttempt(ctx, ref, job.End{State: job.AttemptFailed, At: epoch}))
	wantFault(t, s.PutArtifacts(ctx, ref, nil, epoch), fault.Precondition,
		"attempt 1 of job job-0001 is not its newest, or has ended; it cannot leave artifacts")
	must(t)(s.ClaimJob(ctx, j.ID, "n1", epoch))
	ref.Attempt = 2
	second := left(2, b, "a/b")
	ok(t, s.PutArtifacts(ctx, ref, second, epoch.Add(time.Hour)))
	sets, err := s.ArtifactSets(ctx, j.ID)
	ok(t, err)
	same(t, "sets", []job.ArtifactSet{
		{Attempt: 1, Files: 3, Bytes: 6, StoredAt: epoch.Add(time.Second)}, {Attempt: 2, Files: 1, Bytes: 1, StoredAt: epoch.Add(time.Hour)},
	}, sets)
	same(t, "first page", first[:2], list(j.ID, store.ArtifactFilter{Limit: 2}))
	same(t, "second page", append(first[2:], second...), list(j.ID, store.ArtifactFilter{Limit: 2, AfterAttempt: 1, AfterName: "c"}))
	same(t, "of an attempt", second, list(j.ID, store.ArtifactFilter{Limit: 2, Attempt: 2}))
	same(t, "of a name", append(first[:1:1], second...), list(j.ID, store.ArtifactFilter{Limit: 9, Name: "a/b"}))
	same(t, "of another", nil, list(j.ID, store.ArtifactFilter{Limit: 9, Name: "a"}))

	used, err := s.BlobsInUse(ctx, []blob.Digest{a, b, digestOf("c")})
	ok(t, err)
	same(t, "blobs in use", map[blob.Digest]bool{a: true, b: true}, used)

	_, err = s.ListArtifacts(ctx, "none", store.ArtifactFilter{Limit: 1})
	wantFault(t, err, fault.NotFound, `there is no job "none"`)
	_, err = s.ArtifactSets(ctx, "none")
	wantFault(t, err, fault.NotFound, `there is no job "none"`)
	wantFault(t, s.PutArtifacts(ctx, job.Ref{JobID: "none", Attempt: 1}, nil, epoch), fault.NotFound, `there is no job "none"`)
	_, err = s.ListArtifacts(ctx, j.ID, store.ArtifactFilter{})
	wantFault(t, err, fault.Invalid, "pageSize: is 0; allowed are 1 to 1000")
}

// What is old goes, and what a deleted job left, also when it is much; what of it
// is not deleted yet is not seen.
func testDeleteArtifacts(t *testing.T, im Implementation) {
	s := open(t, im)
	ctx := t.Context()
	digest := digestOf("d")
	var names []string
	for i := range 1200 {
		names = append(names, fmt.Sprintf("%04d", i))
	}
	for n := 1; n <= 3; n++ {
		j := submit(t, s, newJob(n))
		must(t)(s.ClaimJob(ctx, j.ID, "n1", epoch))
		ok(t, s.PutArtifacts(ctx, job.Ref{JobID: j.ID, Attempt: 1}, left(1, digest, names...), epoch.Add(time.Duration(n)*time.Hour)))
		must(t)(s.CompleteAttempt(ctx, job.Ref{JobID: j.ID, Attempt: 1}, job.End{State: job.AttemptSucceeded, At: epoch.Add(time.Duration(n) * time.Hour)}))
	}
	steps := func(before time.Time) (n int) {
		t.Helper()
		for {
			more, err := s.DeleteArtifacts(ctx, before, 500)
			ok(t, err)
			if !more {
				return n
			}
			n++
			for _, id := range []string{"job-0001", "job-0002", "job-0003"} {
				got, err := s.ListArtifacts(ctx, id, store.ArtifactFilter{Limit: 1000})
				if err == nil && len(got) != 0 && len(got) != 1000 {
					t.Fatalf("%d artifacts of %s are seen", len(got), id)
				}
			}
		}
	}
	if n := steps(time.Time{}); n != 0 {
		t.Errorf("%d steps with nothing to delete", n)
	}
	if n := steps(epoch.Add(90 * time.Minute)); n != 3 {
		t.Errorf("%d steps for 1200 artifacts, want 3", n)
	}
	sets, err := s.ArtifactSets(ctx, "job-0001")
	ok(t, err)
	same(t, "what is left of the first", nil, sets)

	deleted, err := s.DeleteEnded(ctx, epoch.Add(150*time.Minute), 10)
	ok(t, err)
	same(t, "deleted jobs", []string{"job-0001", "job-0002"}, deleted)
	used, err := s.BlobsInUse(ctx, []blob.Digest{digest})
	ok(t, err)
	same(t, "blobs in use", map[blob.Digest]bool{digest: true}, used)
	if n := steps(time.Time{}); n != 3 {
		t.Errorf("%d steps for 1200 artifacts of a job that is deleted, want 3", n)
	}
	if n := steps(epoch.Add(24 * time.Hour)); n != 3 {
		t.Errorf("%d steps for the rest, want 3", n)
	}
	used, err = s.BlobsInUse(ctx, []blob.Digest{digest})
	ok(t, err)
	same(t, "blobs in use in the end", nil, used)
}
