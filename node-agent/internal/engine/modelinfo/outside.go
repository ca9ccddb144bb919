package modelinfo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// maxRedirects bounds how often a file may be said to be elsewhere.
const maxRedirects = 5

// outside makes a client for files below base. Whom base names is asked wherever it
// is, as its engine would ask it; but nobody can send us on to an address that is not
// public. done releases connections.
func outside(base string) (client *http.Client, done func(), err error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, nil, fmt.Errorf("the address of models: %w", err)
	}
	named := map[string]bool{hostPort(u): true}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  20 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: 10 * time.Second, Control: neverLocalLink}
			if !named[addr] {
				d.Control = onlyPublic
			}
			return d.DialContext(ctx, network, addr)
		},
	}
	// A proxy is the machine's own choice.
	if req, err := http.NewRequest(http.MethodGet, base, http.NoBody); err == nil { //nolint:noctx,gosec // never sent: it asks for the proxy
		if proxy, err := http.ProxyFromEnvironment(req); err == nil && proxy != nil {
			named[hostPort(proxy)] = true
		}
	}
	client = &http.Client{
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("was sent on more than %d times", maxRedirects)
			case req.URL.Scheme != "https" && !named[hostPort(req.URL)]:
				return errors.New("was sent on to an address without TLS")
			}
			if ip, err := netip.ParseAddr(req.URL.Hostname()); err == nil && !named[hostPort(req.URL)] {
				return checkPublic(ip) // also where a proxy would dial it
			}
			return nil
		},
	}
	return client, transport.CloseIdleConnections, nil
}

// hostPort is the address that is dialled for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// onlyPublic is net.Dialer.Control: it sees the address after names are resolved.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return checkPublic(at.Addr())
}

// neverLocalLink refuses where clouds keep their machines' credentials.
func neverLocalLink(_, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err != nil || at.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("%s is not asked for models", address)
	}
	return nil
}

// shared are addresses behind a provider's NAT (RFC 6598) and of IPv6's translations
// of others (RFC 6052, RFC 8215, RFC 3056).
var shared = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

func checkPublic(ip netip.Addr) error {
	ip = ip.Unmap()
	private := !ip.IsGlobalUnicast() || ip.IsPrivate()
	for _, prefix := range shared {
		private = private || prefix.Contains(ip)
	}
	if private {
		return fmt.Errorf("was sent on to %s, which is not a public address", ip)
	}
	return nil
}
