package api

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

func TestHostAllowList(t *testing.T) {
	h := newHarness(t, settings{hosts: []string{"orchion.internal", "192.0.2.7"}})
	for host, want := range map[string]bool{
		"localhost":              true,
		"LOCALHOST:8080":         true,
		"localhost.:8080":        true,
		"127.0.0.1":              true,
		"127.0.0.1:8080":         true,
		"127.8.8.8:1":            true,
		"[::1]:8080":             true,
		"orchion.internal:8080":  true,
		"192.0.2.7:8080":         true,
		"192.0.2.8":              false,
		"evil.example":           false,
		"localhost.evil.example": false,
		"127.0.0.1.evil.example": false,
		"orchion.internal.evil":  false,
	} {
		a := h.call(t, http.MethodGet, "/api/version", "", "Host: "+host)
		if want && a.status != http.StatusOK {
			t.Errorf("%q is refused: %d %s", host, a.status, a.body)
		}
		if !want {
			a.wantError(t, http.StatusForbidden, codes.PermissionDenied, "does not answer to the host")
		}
	}
}

func TestCORS(t *testing.T) {
	const ours, other = "http://localhost:5173", "https://evil.example"
	h := newHarness(t, settings{origins: []string{ours}})
	h.register(t, worker("n1"), "")

	a := h.call(t, http.MethodGet, "/api/nodes", "", "Origin: "+ours, "Sec-Fetch-Site: cross-site")
	if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != ours || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
		t.Errorf("an allowed origin gets %d %v", a.status, a.header)
	}
	a = h.call(t, http.MethodGet, "/api/nodes", "", "Origin: "+other)
	if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
		t.Errorf("another origin may read: %v", a.header)
	}

	preflight := []string{"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,x-stainless-lang"}
	a = h.call(t, http.MethodOptions, "/api/jobs", "", append(preflight, "Origin: "+ours)...)
	if a.status != http.StatusNoContent || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "PATCH") ||
		a.header.Get("Access-Control-Allow-Headers") != "content-type,x-stainless-lang" {
		t.Errorf("a preflight of an allowed origin gets %d %v", a.status, a.header)
	}
	a = h.call(t, http.MethodOptions, "/api/jobs", "", append(preflight, "Origin: "+other)...)
	if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("a preflight of another origin gets %d %v", a.status, a.header)
	}

	for name, tc := range map[string]struct {
		headers []string
		allowed bool
	}{
		"no browser":          {nil, true},
		"allowed origin":      {[]string{"Origin: " + ours, "Sec-Fetch-Site: cross-site"}, true},
		"own page":            {[]string{"Origin: " + h.http.URL, "Sec-Fetch-Site: same-origin"}, true},
		"own page, old":       {[]string{"Origin: " + h.http.URL}, true},
		"other page":          {[]string{"Origin: " + other, "Sec-Fetch-Site: cross-site"}, false},
		"other page, old":     {[]string{"Origin: " + other}, false},
		"other port":          {[]string{"Origin: http://127.0.0.1:1", "Sec-Fetch-Site: same-site"}, false},
		"sandboxed":           {[]string{"Origin: null", "Sec-Fetch-Site: cross-site"}, false},
		"form without origin": {[]string{"Sec-Fetch-Site: cross-site", "Content-Type: text/plain"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.call(t, http.MethodPost, "/api/nodes/n1:drain", "", tc.headers...)
			if tc.allowed {
				if a.status != http.StatusOK {
					t.Errorf("refused: %d %s", a.status, a.body)
				}
				return
			}
			a.wantError(t, http.StatusForbidden, codes.PermissionDenied, "may not do this; if it should, start the orchestrator with --allowed-origins")
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	h := newHarness(t, settings{})
	for _, path := range []string{"/", "/api/nodes", "/healthz", "/v1/models"} {
		header := h.call(t, http.MethodGet, path, "").header
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("X-Frame-Options") != "DENY" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s has %v", path, header)
		}
	}
}

func TestCheckOriginAndHost(t *testing.T) {
	for _, origin := range []string{"", "*", "localhost:5173", "http://*.example", "http://a/b", "http://a/", "http://a?x", "://", "null"} {
		if err := CheckOrigin(origin); fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "allowed-origins: has ") {
			t.Errorf("CheckOrigin(%q) = %v", origin, err)
		}
	}
	for _, origin := range []string{"http://localhost:5173", "https://a.example", "vscode-webview://abc"} {
		if err := CheckOrigin(origin); err != nil {
			t.Errorf("CheckOrigin(%q) = %v", origin, err)
		}
	}
	for _, host := range []string{"", "a:80", "http://a", "a/b", "*", strings.Repeat("a", 254)} {
		if err := CheckHost(host); fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "allowed-hosts: has ") {
			t.Errorf("CheckHost(%q) = %v", host, err)
		}
	}
	for _, host := range []string{"a.example", "192.0.2.1", "2001:db8::1", "[2001:db8::1]"} {
		if err := CheckHost(host); err != nil {
			t.Errorf("CheckHost(%q) = %v", host, err)
		}
	}
}
