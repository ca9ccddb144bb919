package api

import (
	"archive/tar"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// artifactContent serves the contents of artifacts.
type artifactContent struct {
	cfg    *Config
	until  func(context.Context) (context.Context, context.CancelFunc)
	report func(ctx context.Context, method string, err error) *status.Status
}

// one serves /api/jobs/{id}/artifacts/{name...}.
func (h *artifactContent) one(w http.ResponseWriter, r *http.Request) {
	attempt, err := attemptOfRequest(r)
	if err != nil {
		writeError(w, err)
		return
	}
	a, err := h.cfg.artifact(r.Context(), r.PathValue("id"), attempt, r.PathValue("name"))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	content, err := h.cfg.Blobs.Open(a.Digest)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer content.Close()
	serveContent(w, r, content, a.Digest, a.Name)
}

// all serves /api/jobs/{id}/artifacts.tar.
func (h *artifactContent) all(w http.ResponseWriter, r *http.Request) {
	attempt, err := attemptOfRequest(r)
	if err != nil {
		writeError(w, err)
		return
	}
	ctx, cancel := h.until(r.Context())
	defer cancel()
	id := r.PathValue("id")
	if attempt, err = h.cfg.artifactAttempt(ctx, id, attempt); err != nil {
		h.fail(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/x-tar")
	header.Set("Content-Disposition", attachment(id+".tar"))
	header.Set("Cache-Control", "private, no-cache")
	if r.Method == http.MethodHead {
		return
	}
	if err := h.archive(ctx, w, id, attempt); err != nil {
		if r.Context().Err() == nil {
			h.report(ctx, "GET /api/jobs/{id}/artifacts.tar", err)
		}
		// Only a connection that breaks off says that the archive is not whole.
		panic(http.ErrAbortHandler)
	}
}

func (h *artifactContent) archive(ctx context.Context, w io.Writer, id string, attempt int) error {
	out := tar.NewWriter(w)
	filter := store.ArtifactFilter{Attempt: attempt, Limit: store.MaxPage}
	for {
		list, err := h.cfg.Artifacts.ListArtifacts(ctx, id, filter)
		if err != nil {
			return err
		}
		for i := range list {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := h.archiveOne(out, &list[i]); err != nil {
				return err
			}
		}
		if len(list) < filter.Limit {
			return out.Close()
		}
		last := &list[len(list)-1]
		filter.AfterAttempt, filter.AfterName = last.Attempt, last.Name
	}
}

func (h *artifactContent) archiveOne(out *tar.Writer, a *job.Artifact) error {
	content, err := h.cfg.Blobs.Open(a.Digest)
	if err != nil {
		return err
	}
	defer content.Close()
	err = out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: a.Name, Size: a.Size, Mode: int64(a.Mode), ModTime: time.Unix(0, 0)})
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return err
}

// attemptOfRequest is the query parameter attempt; 0: not given.
func attemptOfRequest(r *http.Request) (int, error) {
	if err := checkParameters(r.URL.Query(), []string{"attempt"}); err != nil {
		return 0, err
	}
	attempt, err := numberFromQuery(r.URL.Query(), "attempt")
	return int(attempt), err
}

func (h *artifactContent) fail(w http.ResponseWriter, r *http.Request, err error) {
	st := h.report(r.Context(), r.Method+" /api/jobs/{id}/artifacts", err)
	writeStatus(w, runtime.HTTPStatusFromCode(st.Code()), st)
}
