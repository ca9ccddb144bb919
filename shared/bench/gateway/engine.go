package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// modelName is what the engine serves.
const modelName = "bench"

// streamTokens is the number of events in a stream before its end.
const streamTokens = 32

// The questions and the plain answer, each of about 1 kB.
var (
	plainQuestion  = questionOf(false)
	streamQuestion = questionOf(true)
	plainAnswer    = answerOf(1024)
)

func questionOf(stream bool) []byte {
	return fmt.Appendf(nil, `{"model":%q,"stream":%t,"messages":[{"role":"user","content":%q}]}`,
		modelName, stream, strings.Repeat("word ", 190))
}

func answerOf(size int) []byte {
	const head, tail = `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"`, `"}}]}`
	return []byte(head + strings.Repeat("x", size-len(head)-len(tail)) + tail)
}

// newEngine is an engine without a model: it answers at once.
func newEngine() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"object":"model","owned_by":"bench"}]}`, modelName)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has left
		}
		var question struct{ Stream bool }
		if err := json.Unmarshal(body, &question); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if question.Stream {
			streamAnswer(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(plainAnswer)
	})
	return mux
}

func streamAnswer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	controller := http.NewResponseController(w)
	event := []byte(`data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"token"}}]}` + "\n\n")
	for i := range streamTokens + 1 {
		if i == streamTokens {
			event = []byte("data: [DONE]\n\n")
		}
		if _, err := w.Write(event); err != nil {
			return // the client has left
		}
		if err := controller.Flush(); err != nil {
			return
		}
	}
}

// serveEngine serves the engine on a free port until stop.
func serveEngine() (baseURL string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: newEngine(), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Close
	}()
	return "http://" + listener.Addr().String(), func() { _ = server.Close(); <-done }, nil
}

// reverseProxyCommand makes this program the proxy to compare with.
const reverseProxyCommand = "reverse-proxy"

// runReverseProxy is httputil.ReverseProxy at its best: it keeps connections and
// flushes at once.
func runReverseProxy(listen, target string) error {
	base, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("the engine's URL: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(base) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		BufferPool:    onePool{make(chan []byte, 256)},
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Without it the server closes the request's body with the first flush of
		// the answer, at times before the proxy's transport has seen the body's
		// end, and about one stream in three thousand breaks off.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	server := &http.Server{Addr: listen, Handler: handler, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}

// onePool is a pool of buffers for the proxy.
type onePool struct{ free chan []byte }

func (p onePool) Get() []byte {
	select {
	case b := <-p.free:
		return b
	default:
		return make([]byte, 32<<10)
	}
}

func (p onePool) Put(b []byte) {
	select {
	case p.free <- b:
	default:
	}
}

// sameQuestion guards against a question that is not JSON, which would measure
// errors.
func sameQuestion() error {
	for _, q := range [][]byte{plainQuestion, streamQuestion, plainAnswer} {
		if !json.Valid(bytes.TrimSpace(q)) {
			return fmt.Errorf("not JSON: %s", q)
		}
	}
	return nil
}
