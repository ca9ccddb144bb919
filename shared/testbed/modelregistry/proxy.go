package modelregistry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	registryHost = "registry.ollama.ai"
	// blobHost is in a domain that never exists, so nothing real is meant.
	blobHost = "blobs.orchion.invalid"
)

// Proxy is an HTTPS proxy that is the registry for whoever uses it: it takes
// the connections to registry.ollama.ai itself, with a certificate of its own,
// and refuses all others. Start Ollama with HTTPS_PROXY set to URL and
// SSL_CERT_FILE to a file with Certificate in it.
type Proxy struct {
	front, inner *http.Server
	frontAddr    string
	innerAddr    string
	certificate  []byte
	done         sync.WaitGroup
}

// StartProxy starts a proxy on a free port of the loopback interface.
func StartProxy(ctx context.Context, models []*Model, bytesPerSecond int) (*Proxy, error) {
	certificate, pemBytes, err := selfSigned(registryHost, blobHost)
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	inner, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the registry: %w", err)
	}
	front, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		inner.Close()
		return nil, fmt.Errorf("start the registry's proxy: %w", err)
	}
	p := &Proxy{
		frontAddr:   front.Addr().String(),
		innerAddr:   inner.Addr().String(),
		certificate: pemBytes,
	}
	p.inner = &http.Server{
		Handler:           NewHandler(models, Options{BytesPerSecond: bytesPerSecond, BlobBase: "https://" + blobHost}),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	p.front = &http.Server{Handler: http.HandlerFunc(p.connect), ReadHeaderTimeout: 10 * time.Second}
	p.done.Go(func() { _ = p.inner.ServeTLS(inner, "", "") }) // ends by Close alone
	p.done.Go(func() { _ = p.front.Serve(front) })
	return p, nil
}

// URL is for HTTPS_PROXY.
func (p *Proxy) URL() string { return "http://" + p.frontAddr }

// Certificate is the PEM of the certificate to trust.
func (p *Proxy) Certificate() []byte { return p.certificate }

// Close ends the proxy and all connections through it.
func (p *Proxy) Close() error {
	err := errors.Join(p.front.Close(), p.inner.Close())
	p.done.Wait()
	return err
}

// connect joins a client with the registry behind us, whichever of the two
// hosts it asked for.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || !slices.Contains([]string{registryHost, blobHost}, host) {
		http.Error(w, "offline: only "+registryHost+" is here", http.StatusForbidden)
		return
	}
	var dial net.Dialer
	upstream, err := dial.DialContext(r.Context(), "tcp", p.innerAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer client.Close()
	if _, err := client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(upstream, buffered) // either side may end it
		upstream.Close()
	})
	_, _ = io.Copy(client, upstream)
	client.Close()
	up.Wait()
}

func selfSigned(hosts ...string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Orchion offline model registry"},
		DNSNames:              hosts,
		NotBefore:             time.Now().Add(-24 * time.Hour), // clocks of containers may lag
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
