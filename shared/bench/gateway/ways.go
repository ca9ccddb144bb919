package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
)

// way is one way to the engine.
type way struct {
	name    string
	address string
	pids    []int // of its processes, without the engine; none: there are none
	metered bool  // it tells its allocations
}

// starter starts a way. stop may be given with an error, too.
type starter struct {
	name  string
	start func(ctx context.Context, s *settings, dir, engine string) (w *way, stop func(), err error)
}

func starters() []starter {
	return []starter{
		{"nginx", startNginx},
		{"haproxy", startHAProxy},
		{"reverseproxy", startReverseProxy},
		{"orchion", func(ctx context.Context, s *settings, dir, engine string) (*way, func(), error) {
			return startOrchion(ctx, s, dir, engine, "direct")
		}},
		{"tunnel", func(ctx context.Context, s *settings, dir, engine string) (*way, func(), error) {
			return startOrchion(ctx, s, dir, engine, "tunnel", "--direct-path=false")
		}},
	}
}

// startWays starts the engine and the ways to it that are asked for; direct comes
// first. stop is never nil.
func startWays(ctx context.Context, s *settings, dir string) (ways []*way, stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, fmt.Errorf("find this program: %w", err)
	}
	engine, err := freeAddr(ctx)
	if err != nil {
		return nil, stop, err
	}
	process, err := startProcess(self, engineCommand, engine)
	if err != nil {
		return nil, stop, fmt.Errorf("start the engine: %w", err)
	}
	stops = append(stops, process.Stop)
	ways = append(ways, &way{name: "direct", address: engine})
	if err := waitFor(ctx, "the engine", engine, modelName); err != nil {
		return nil, stop, err
	}
	for _, st := range starters() {
		if !s.hasWay(st.name) {
			continue
		}
		w, stopWay, err := st.start(ctx, s, dir, engine)
		if stopWay != nil {
			stops = append(stops, stopWay)
		}
		var missing missingError
		if errors.As(err, &missing) {
			fmt.Println("left out:", missing)
			continue
		}
		if err != nil {
			return nil, stop, fmt.Errorf("%s: %w", st.name, err)
		}
		if err := waitFor(ctx, st.name, w.address, `"`+modelName+`"`); err != nil {
			return nil, stop, err
		}
		w.name = st.name
		ways = append(ways, w)
	}
	return ways, stop, nil
}

// missingError says what is not on this machine.
type missingError string

func (e missingError) Error() string { return string(e) }

// find finds a program that may lie where a user's PATH does not lead.
func find(name string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(candidate); err == nil {
			return found, nil
		}
	}
	return "", missingError(name + " is not installed")
}

const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
worker_processes auto;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  keepalive_requests 1000000;
  upstream engine { server %[2]s; keepalive 1024; keepalive_requests 1000000; }
  server {
    listen %[3]s;
    client_max_body_size 32m;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`

func startNginx(ctx context.Context, _ *settings, dir, engine string) (*way, func(), error) {
	program, err := find("nginx")
	if err != nil {
		return nil, nil, err
	}
	return startConfigured(ctx, program, nginxConfig, dir, engine, "-p", dir, "-c")
}

const haproxyConfig = `
global
  maxconn 8192
  pidfile %[1]s/haproxy.pid
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend front
  bind %[3]s
  default_backend engine
backend engine
  server engine %[2]s
`

func startHAProxy(ctx context.Context, _ *settings, dir, engine string) (*way, func(), error) {
	program, err := find("haproxy")
	if err != nil {
		return nil, nil, err
	}
	return startConfigured(ctx, program, haproxyConfig, dir, engine, "-db", "-f")
}

// startConfigured starts a proxy with a file of its configuration.
func startConfigured(ctx context.Context, program, config, dir, engine string, args ...string) (*way, func(), error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, filepath.Base(program)+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, dir, engine, addr), 0o600); err != nil {
		return nil, nil, fmt.Errorf("write the configuration: %w", err)
	}
	process, err := startProcess(program, append(args, file)...)
	if err != nil {
		return nil, nil, err
	}
	return &way{address: addr, pids: []int{process.PID()}}, process.Stop, nil
}

func startReverseProxy(ctx context.Context, _ *settings, _, engine string) (*way, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program: %w", err)
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, nil, err
	}
	process, err := startProcess(self, reverseProxyCommand, addr, "http://"+engine)
	if err != nil {
		return nil, nil, err
	}
	return &way{address: addr, pids: []int{process.PID()}}, process.Stop, nil
}

// startOrchion starts the real programs, with a folder of that name for what they
// keep.
func startOrchion(ctx context.Context, s *settings, dir, engine, name string, args ...string) (*way, func(), error) {
	if err := s.programs(ctx, dir); err != nil {
		return nil, nil, err
	}
	orchestrator, err := measure.StartOrchestrator(ctx, dir, name+"-orchestrator", args...)
	if err != nil {
		return nil, nil, err
	}
	agent, err := startProcess(filepath.Join(dir, "node-agent"), "--orchestrator", orchestrator.GRPC, "--data-dir", filepath.Join(dir, name+"-node"),
		"--adopt", "http://"+engine, "--runtime", "none", "--log-level", "warn")
	if err != nil {
		return nil, orchestrator.Stop, err
	}
	w := &way{address: strings.TrimPrefix(orchestrator.URL, "http://"), pids: []int{orchestrator.PID(), agent.PID()}, metered: true}
	return w, func() { agent.Stop(); orchestrator.Stop() }, nil
}

// programs puts the orchestrator and the node agent into dir, once.
func (s *settings) programs(ctx context.Context, dir string) error {
	names := map[string]string{"orchestrator": s.orchestrator, "node-agent": s.nodeAgent}
	build := map[string]string{}
	for name, file := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			continue
		}
		if file == "" {
			build[name] = "./" + name + "/cmd/" + name
			continue
		}
		file, err := filepath.Abs(file)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	if len(build) > 0 {
		fmt.Println("building the programs")
	}
	return measure.Build(ctx, dir, build)
}

// startProcess starts a program whose complaints are shown. It is not tied to a
// context, which would kill it: it is interrupted and ends gracefully.
func startProcess(program string, args ...string) (*measure.Process, error) {
	return measure.Start(exec.Command(program, args...))
}

func freeAddr(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// waitFor waits until the list of models has the text.
func waitFor(ctx context.Context, what, address, text string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/models", http.NoBody)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
			res.Body.Close()
			if err == nil && strings.Contains(string(body), text) {
				return nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s did not come up: %w", what, ctx.Err())
		}
	}
}
