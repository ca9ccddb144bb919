package api

import (
	"crypto/sha256"
	_ "embed" // for the page that stands in for the dashboard
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
)

//go:embed unbuilt.html
var unbuiltPage []byte

// immutableFiles have a hash of their content in their name.
const immutableFiles = "_app/immutable/"

// dashboard serves the built dashboard: files as they are, and its one page
// for every other path, because the page finds its way by itself.
type dashboard struct {
	files  fs.FS // nil: not built
	server http.Handler
	page   []byte
	policy string
}

func newDashboard(files fs.FS) (http.Handler, error) {
	d := &dashboard{files: files, page: unbuiltPage}
	if files != nil {
		page, err := fs.ReadFile(files, "index.html")
		if err != nil {
			return nil, fmt.Errorf("read the dashboard's page: %w", err)
		}
		d.page = page
		d.server = http.FileServerFS(files)
	}
	d.policy = contentPolicy(d.page)
	return d, nil
}

func (d *dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writePlain(w, http.StatusMethodNotAllowed, "Only GET goes with this path; the API is under /api/ and /v1/.\n")
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	w.Header().Set("Content-Security-Policy", d.policy)
	switch {
	case d.isFile(name):
		if strings.HasPrefix(name, immutableFiles) {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		d.server.ServeHTTP(w, r)
	case strings.HasPrefix(name, "_app/"):
		// A script that is gone was of an older build: to answer it with the
		// page would only give a stranger error.
		writePlain(w, http.StatusNotFound, "There is no such file; reload the page.\n")
	default:
		d.servePage(w, r)
	}
}

func (d *dashboard) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	if d.files == nil && r.URL.Path != "/" {
		w.WriteHeader(http.StatusNotFound)
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(d.page)
	}
}

func (d *dashboard) isFile(name string) bool {
	if d.files == nil || name == "" || name == "index.html" {
		return false
	}
	info, err := fs.Stat(d.files, name)
	return err == nil && info.Mode().IsRegular()
}

// inlineScript finds the scripts that stand in a page itself.
var inlineScript = regexp.MustCompile(`(?s)<script([^>]*)>(.*?)</script>`)

// contentPolicy is the Content-Security-Policy of a page: what we serve
// ourselves, and exactly those inline scripts that are in it. connect-src is
// wide because the orchestrator that the dashboard talks to is its user's
// choice.
func contentPolicy(page []byte) string {
	scripts := []string{"'self'"}
	for _, m := range inlineScript.FindAllSubmatch(page, -1) {
		if strings.Contains(string(m[1]), "src=") {
			continue
		}
		sum := sha256.Sum256(m[2])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join([]string{
		"default-src 'self'",
		"script-src " + strings.Join(scripts, " "),
		"style-src 'self' 'unsafe-inline'",
		"img-src 'self' data:",
		"font-src 'self' data:",
		"connect-src 'self' http: https:",
		"object-src 'none'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}
