package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// guard keeps web pages from driving the orchestrator of whoever looks at
// them: it only answers to its own names (against DNS rebinding), only lets
// configured origins read across origins (CORS), and refuses requests of other
// pages that would change something.
type guard struct {
	hosts       map[string]bool
	origins     map[string]bool
	crossOrigin *http.CrossOriginProtection
}

func newGuard(origins, hosts []string) (*guard, error) {
	g := &guard{
		hosts:       map[string]bool{"localhost": true},
		origins:     make(map[string]bool),
		crossOrigin: http.NewCrossOriginProtection(),
	}
	for _, host := range hosts {
		if err := CheckHost(host); err != nil {
			return nil, err
		}
		g.hosts[strings.ToLower(strings.Trim(host, "[]"))] = true
	}
	for _, origin := range origins {
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
		g.origins[origin] = true
		if err := g.crossOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, fault.BadField("allowed-origins", "%v", err)
		}
	}
	g.crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forbid(w, "a web page of %q may not do this; if it should, start the orchestrator with --allowed-origins",
			clip(r.Header.Get("Origin")))
	}))
	return g, nil
}

// CheckOrigin says what is wrong with an entry of Config.AllowedOrigins.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.String() != u.Scheme+"://"+u.Host || strings.Contains(origin, "*") {
		return fault.BadField("allowed-origins", "has %q; an origin is written as http://localhost:5173", clip(origin))
	}
	return nil
}

// CheckHost says what is wrong with an entry of Config.AllowedHosts.
func CheckHost(host string) error {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return nil
	}
	if host == "" || len(host) > maxHostname || !hostnamePattern.MatchString(host) {
		return fault.BadField("allowed-hosts", "has %q; a host is a name or an address without port", clip(host))
	}
	return nil
}

// guardHeaders are on every answer. Their values are shared by all, and full, so that
// another one is never added to them in place.
var guardHeaders = [...]struct {
	name  string
	value [1]string
}{
	{"X-Content-Type-Options", [1]string{"nosniff"}},
	{"Referrer-Policy", [1]string{"no-referrer"}},
	{"Cross-Origin-Resource-Policy", [1]string{"same-origin"}},
	{"X-Frame-Options", [1]string{"DENY"}},
}

var varyOrigin = [1]string{"Origin"}

var closeConnection = [1]string{"close"}

// endsConnection says whether a request is the last on its connection because another
// parser may have seen it end elsewhere. net/http takes a body in chunks whatever
// Content-Length says, and in HTTP/1.0 whatever Transfer-Encoding says; RFC 9112, 6.1, has
// the connection closed after both. The first it does not tell apart from other chunks.
func endsConnection(r *http.Request) bool { return r.ContentLength < 0 || !r.ProtoAtLeast(1, 1) }

func (g *guard) wrap(next http.Handler) http.Handler {
	protected := g.crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		if endsConnection(r) {
			header["Connection"] = closeConnection[:]
		}
		for i := range guardHeaders {
			header[guardHeaders[i].name] = guardHeaders[i].value[:]
		}
		if !g.answersTo(r.Host) {
			forbid(w, "this orchestrator does not answer to the host %q; use localhost, or start it with --allowed-hosts", clip(r.Host))
			return
		}
		header["Vary"] = varyOrigin[:]
		if origin := r.Header.Get("Origin"); g.origins[origin] {
			header.Set("Access-Control-Allow-Origin", origin)
			header.Set("Cross-Origin-Resource-Policy", "cross-origin")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				preflight(header, r)
				w.WriteHeader(http.StatusNoContent)
				return
			}
			header.Set("Access-Control-Expose-Headers", "X-Request-ID, X-Orchion-Model, X-Orchion-Node, X-Orchion-Replica, X-Orchion-Route-Reason, Retry-After")
		}
		protected.ServeHTTP(w, r)
	})
}

// preflight answers what an allowed origin may do: everything. The headers are
// echoed because SDKs send names of their own.
func preflight(header http.Header, r *http.Request) {
	header.Add("Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
	if names := r.Header.Get("Access-Control-Request-Headers"); names != "" {
		header.Set("Access-Control-Allow-Headers", names)
	}
	header.Set("Access-Control-Max-Age", "600")
}

// answersTo says whether a Host header names this orchestrator. An address of
// loopback always does: no name server can put another one in its place.
func (g *guard) answersTo(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if g.hosts[host] {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func forbid(w http.ResponseWriter, format string, args ...any) {
	writeStatus(w, http.StatusForbidden, status.New(codes.PermissionDenied, fmt.Sprintf(format, args...)))
}
