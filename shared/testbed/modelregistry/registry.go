// Package modelregistry serves models in the protocol of Ollama's registry, so
// that a real Ollama really pulls from it, with progress, where the real
// registry cannot be reached.
//
// There are two ways in. Served as it is, models are pulled by a name with the
// server in it:
//
//	curl localhost:11434/api/pull -d '{"model": "localhost:25001/library/tiny", "insecure": true}'
//
// Behind a Proxy, which takes the place of registry.ollama.ai, they are pulled
// by their bare names, as users do.
package modelregistry

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"time"
)

// Options say how a registry serves.
type Options struct {
	// BytesPerSecond limits each download, so that progress can be watched;
	// zero means no limit.
	BytesPerSecond int
	// BlobBase is the start of the URLs that blobs are redirected to. Ollama
	// wants another host than the registry's there. Empty means the address
	// that the request came in on, which is another host than the name
	// "localhost".
	BlobBase string
}

// NewHandler returns a registry with these models.
func NewHandler(models []*Model, o Options) http.Handler {
	manifests := map[string]*Model{}
	blobs := map[string][]byte{}
	for _, m := range models {
		manifests[m.name] = m
		for digest, blob := range m.blobs {
			blobs[digest] = blob
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/library/{model}/manifests/latest", func(w http.ResponseWriter, r *http.Request) {
		m, ok := manifests[r.PathValue("model")]
		if !ok {
			notFound(w)
			return
		}
		w.Header().Set("Content-Type", manifestType)
		_, _ = w.Write(m.manifest) // the client's loss
	})
	mux.HandleFunc("GET /v2/library/{model}/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		blob, ok := blobs[r.PathValue("digest")]
		switch {
		case !ok:
			notFound(w)
		case r.Method == http.MethodHead:
			serveBlob(w, r, blob)
		default:
			//nolint:gosec // Ollama requires the redirect, and the target is this server
			http.Redirect(w, r, o.blobBase(r)+"/blobs/"+r.PathValue("digest"), http.StatusTemporaryRedirect)
		}
	})
	mux.HandleFunc("GET /blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		blob, ok := blobs[r.PathValue("digest")]
		if !ok {
			notFound(w)
			return
		}
		if o.BytesPerSecond > 0 {
			w = &slowWriter{ResponseWriter: w, ctx: r.Context(), rate: o.BytesPerSecond}
		}
		serveBlob(w, r, blob)
	})
	return mux
}

func (o Options) blobBase(r *http.Request) string {
	if o.BlobBase != "" {
		return o.BlobBase
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	host := r.Host
	if here, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		host = here.String()
	}
	return scheme + "://" + host
}

// notFound answers as the real registry does; Ollama makes "file does not
// exist" of it.
func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
}

func serveBlob(w http.ResponseWriter, r *http.Request, blob []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}

// slowWriter writes no more than rate bytes a second, in small steps.
type slowWriter struct {
	http.ResponseWriter
	ctx  context.Context // of the request that it lives as long as
	rate int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	const stepsPerSecond = 20
	written := 0
	for len(p) > 0 {
		step := p[:min(len(p), max(1, s.rate/stepsPerSecond))]
		n, err := s.ResponseWriter.Write(step)
		written += n
		if err != nil {
			return written, err
		}
		if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
			return written, err
		}
		select {
		case <-time.After(time.Duration(n) * time.Second / time.Duration(s.rate)):
		case <-s.ctx.Done():
			return written, s.ctx.Err()
		}
		p = p[n:]
	}
	return written, nil
}
