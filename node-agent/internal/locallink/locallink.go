// Package locallink connects jobs that run as processes of the machine with the gateway: a
// port on loopback for each, that takes a key which only that job was given.
//
// Port and key are kept in a file, so that a process that outlives the agent finds its way
// again when the agent is back.
package locallink

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

const (
	suffix = ".json"
	// headerTimeout bounds how long a client may take to say what it wants.
	headerTimeout = 10 * time.Second
)

// jobIDs are what becomes part of a file's name.
var jobIDs = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}$`)

// Config says what links are made with. All is needed.
type Config struct {
	// Dir keeps a file for each link.
	Dir string
	// Client gives a client that reaches the gateway as an attempt.
	Client func(jobID string, attempt int) *http.Client
	Logger *slog.Logger
}

// Links makes links.
type Links struct{ cfg Config }

// New makes Links; nothing is done until Open.
func New(cfg Config) *Links { return &Links{cfg} }

// Link is one process's way to the gateway.
type Link struct {
	file   string
	port   int
	key    string
	server *http.Server
	client *http.Client
	served sync.WaitGroup
}

// kept is a link's file.
type kept struct {
	Port int    `json:"port"`
	Key  string `json:"key"`
}

func (l *Links) file(jobID string, attempt int) string {
	return filepath.Join(l.cfg.Dir, jobID+"_"+strconv.Itoa(attempt)+suffix)
}

// Open makes a link, or the one again that an earlier run of this agent made.
func (l *Links) Open(ctx context.Context, jobID string, attempt int) (*Link, error) {
	if !jobIDs.MatchString(jobID) {
		return nil, fmt.Errorf("%q is no id of a job", jobID)
	}
	link := &Link{file: l.file(jobID, attempt)}
	var known kept
	data, err := os.ReadFile(link.file)
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what is known of the link: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(known.Port)))
	if err != nil {
		return nil, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listening at %v, which is no TCP port", listener.Addr()), listener.Close())
	}
	link.port, link.key = address.Port, known.Key
	if link.key == "" {
		link.key = "orchion-" + rand.Text()
		if err := link.keep(); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
	}
	link.client = l.cfg.Client(jobID, attempt)
	link.server = &http.Server{
		Handler: link.handler(), ReadHeaderTimeout: headerTimeout,
		ErrorLog: slog.NewLogLogger(l.cfg.Logger.With("job", jobID, "attempt", attempt).Handler(), slog.LevelDebug),
	}
	link.served.Go(func() { _ = link.server.Serve(listener) }) // ends with Close
	return link, nil
}

func (l *Link) keep() error {
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(kept{Port: l.port, Key: l.key})
	if err == nil {
		err = os.WriteFile(l.file+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(l.file+".new", l.file)
	}
	return err
}

// handler passes on to the gateway what shows the key.
func (l *Link) handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "gateway"})
			r.Out.Host = ""
			r.Out.Header.Del("Authorization") // it was for us
		},
		Transport:     l.client.Transport,
		FlushInterval: -1, // an answer is passed on as it is made
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			answer(w, http.StatusBadGateway, "the gateway cannot be reached: "+err.Error())
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(shown), []byte(l.key)) != 1 {
			answer(w, http.StatusUnauthorized, "show the key in OPENAI_API_KEY as Authorization: Bearer KEY")
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// answer refuses in the words of OpenAI's API.
func answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": message, "type": "orchion_error"}}) // the client may be gone
}

// Network implements worker.Link: a process has the machine's.
func (l *Link) Network() driver.NetworkMode { return "" }

// BaseURL implements worker.Link.
func (l *Link) BaseURL() string { return fmt.Sprintf("http://127.0.0.1:%d/v1", l.port) }

// Key implements worker.Link.
func (l *Link) Key() string { return l.key }

// Close implements worker.Link.
func (l *Link) Close(context.Context) error {
	l.Detach()
	if err := os.Remove(l.file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Detach implements worker.Link: the file stays.
func (l *Link) Detach() {
	_ = l.server.Close() // its connections end
	l.served.Wait()
	l.client.CloseIdleConnections()
}

// Reap removes the files of links that keep does not want.
func (l *Links) Reap(_ context.Context, keep func(jobID string, attempt int) bool) error {
	entries, err := os.ReadDir(l.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		jobID, number, _ := strings.Cut(strings.TrimSuffix(e.Name(), suffix), "_")
		attempt, err := strconv.Atoi(number)
		if err == nil && keep(jobID, attempt) {
			continue
		}
		if err := os.Remove(filepath.Join(l.cfg.Dir, e.Name())); !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
