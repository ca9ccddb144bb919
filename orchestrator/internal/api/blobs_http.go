package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// uploadPatience is how long an upload may stand still.
const uploadPatience = time.Minute

// blobContent serves /api/blobs/{digest}.
type blobContent struct {
	cfg    *Config
	report func(ctx context.Context, method string, err error) *status.Status
}

func (h *blobContent) get(w http.ResponseWriter, r *http.Request) {
	digest, err := digestOfRequest(r)
	if err != nil {
		writeError(w, err)
		return
	}
	content, err := h.cfg.Blobs.Open(digest)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer content.Close()
	serveContent(w, r, content, digest, strings.ReplaceAll(string(digest), ":", "-"))
}

func (h *blobContent) put(w http.ResponseWriter, r *http.Request) {
	digest, err := digestOfRequest(r)
	if err != nil {
		writeError(w, err)
		return
	}
	if limit := h.cfg.Blobs.MaxBytes(); r.ContentLength > limit {
		h.fail(w, r, blob.TooLarge(limit))
		return
	}
	size, err := h.cfg.Blobs.Use(digest)
	created := fault.CodeOf(err) == fault.NotFound
	if created {
		body := &upload{body: r.Body, control: http.NewResponseController(w)}
		size, err = h.cfg.Blobs.Put(r.Context(), digest, body)
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	answer, err := encodeJSON(&orchionv1.PutBlobResponse{Digest: string(digest), SizeBytes: size})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if created {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = w.Write(answer) // whoever has gone away needs no answer
}

func digestOfRequest(r *http.Request) (blob.Digest, error) {
	if err := checkParameters(r.URL.Query(), nil); err != nil {
		return "", err
	}
	return digestFromProto("digest", r.PathValue("digest"))
}

func (h *blobContent) fail(w http.ResponseWriter, r *http.Request, err error) {
	st := h.report(r.Context(), r.Method+" /api/blobs/{digest}", err)
	httpStatus := runtime.HTTPStatusFromCode(st.Code())
	if blob.IsTooLarge(err) {
		httpStatus = http.StatusRequestEntityTooLarge
	}
	writeStatus(w, httpStatus, st)
}

// upload is a body that may take any time as long as it goes on.
type upload struct {
	body    io.Reader
	control *http.ResponseController
}

func (u *upload) Read(p []byte) (int, error) {
	// Where the connection knows no deadlines, its own end is the only one.
	_ = u.control.SetReadDeadline(time.Now().Add(uploadPatience))
	n, err := u.body.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		_ = u.control.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fault.BadField("body", "nothing came for %v; nothing was stored", uploadPatience)
	default:
		err = fault.Wrap(fault.Invalid, err, "body: broke off; nothing was stored")
	}
	return n, err
}

// serveContent answers a blob, or the part of it that is asked for, as something
// to be saved: no browser takes it for a page.
func serveContent(w http.ResponseWriter, r *http.Request, content io.ReadSeeker, digest blob.Digest, name string) {
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Disposition", attachment(name))
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	header.Set("Cache-Control", "private, no-cache")
	header.Set("ETag", `"`+string(digest)+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
}
