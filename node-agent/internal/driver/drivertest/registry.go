package drivertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Podman talks plain HTTP only to registries it was told of, by address. The test bed's
// registries.conf names these ports of 127.0.0.1; Docker trusts all of loopback.
const firstRegistryPort, lastRegistryPort = 25500, 25531

// LoopbackRegistry serves one image from a registry on 127.0.0.1 that lasts as long as the
// test, for Target.Registry: NAME:1 with one layer of size bytes. It speaks the part of the
// OCI distribution specification that a pull needs.
func LoopbackRegistry(t *testing.T, name string, size int) (ref string, resume func()) {
	t.Helper()
	return loopbackRegistry(t, name, size, func(h http.Handler) http.Handler { return h })
}

// ProtectedRegistry is a LoopbackRegistry of a small image that wants a login, such as
// docker's "registry" with htpasswd does.
func ProtectedRegistry(t *testing.T, name, username, password string) (ref string) {
	t.Helper()
	ref, resume := loopbackRegistry(t, name, 1024, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, ok := r.BasicAuth(); ok && u == username && p == password {
				h.ServeHTTP(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
		})
	})
	resume()
	return ref
}

func loopbackRegistry(t *testing.T, name string, size int, guard func(http.Handler) http.Handler) (ref string, resume func()) {
	t.Helper()
	content := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(content)
	layer := RootFS(map[string][]byte{"/content-" + name: content})
	config := mustJSON(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Cmd": []string{"/content"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
	})
	const prefix = "application/vnd.oci.image."
	manifest := mustJSON(map[string]any{
		"schemaVersion": 2,
		"mediaType":     prefix + "manifest.v1+json",
		"config":        descriptor(prefix+"config.v1+json", config),
		"layers":        []any{descriptor(prefix+"layer.v1.tar", layer)},
	})

	gate := make(chan struct{})
	resume = sync.OnceFunc(func() { close(gate) })
	serve := func(kind string, data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Header().Set("Docker-Content-Digest", digestOf(data))
			if r.Method == http.MethodHead {
				return
			}
			if len(data) < 1<<20 {
				w.Write(data)
				return
			}
			if half := len(data) / 2; trickle(w, r, data[:half], gate) {
				w.Write(data[half:])
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	})
	base := "/v2/orchion/" + name
	for _, tag := range []string{"1", digestOf(manifest)} {
		mux.Handle("GET "+base+"/manifests/"+tag, serve(prefix+"manifest.v1+json", manifest))
	}
	mux.Handle("GET "+base+"/blobs/"+digestOf(config), serve("application/octet-stream", config))
	mux.Handle("GET "+base+"/blobs/"+digestOf(layer), serve("application/octet-stream", layer))
	mux.HandleFunc("GET /v2/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
	})

	srv := httptest.NewUnstartedServer(guard(mux))
	srv.Listener.Close()
	srv.Listener = registryListener(t)
	srv.Start()
	t.Cleanup(func() {
		resume()
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.Listener.Addr().String() + "/orchion/" + name + ":1", resume
}

// trickle writes data bit by bit, and then waits for the gate; false: the client went away.
// Podman looks at its clock, once a second, only when it reads: data that came at once, or
// not at all, would give it nothing to report.
func trickle(w http.ResponseWriter, r *http.Request, data []byte, gate <-chan struct{}) bool {
	const pieces = 32
	tick := time.NewTicker(60 * time.Millisecond)
	defer tick.Stop()
	for i := range pieces {
		w.Write(data[len(data)*i/pieces : len(data)*(i+1)/pieces])
		if err := http.NewResponseController(w).Flush(); err != nil {
			return false
		}
		select {
		case <-tick.C:
		case <-gate: // no more reason to be slow
		case <-r.Context().Done():
			return false
		}
	}
	select {
	case <-gate:
		return true
	case <-r.Context().Done():
		return false
	}
}

func registryListener(t *testing.T) net.Listener {
	t.Helper()
	for port := firstRegistryPort; port <= lastRegistryPort; port++ {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l
		}
	}
	t.Fatalf("no free port between %d and %d", firstRegistryPort, lastRegistryPort)
	return nil
}

func descriptor(kind string, data []byte) map[string]any {
	return map[string]any{"mediaType": kind, "digest": digestOf(data), "size": len(data)}
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return bytes.TrimSpace(data)
}
