package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// reverseProxyCommand makes this program the proxy to compare with.
const reverseProxyCommand = "reverse-proxy"

// runReverseProxy is httputil.ReverseProxy at its best: it keeps connections and
// flushes at once.
func runReverseProxy(listen, target string) error {
	base, err := url.Parse(target)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(base) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
		BufferPool:    onePool{make(chan []byte, 1024)},
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
