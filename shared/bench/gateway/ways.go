package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// way is one way to the engine.
type way struct {
	name string
	url  string
}

// startWays starts the engine and all ways to it; direct comes first. stop is
// never nil.
func startWays(ctx context.Context, s settings, dir string) (ways []way, stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	if err := sameQuestion(); err != nil {
		return nil, stop, err
	}
	engine, stopEngine, err := serveEngine()
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, stopEngine)
	ways = append(ways, way{"direct", engine})

	for _, start := range []func(context.Context, settings, string, string) (way, func(), error){startNginx, startReverseProxy, startOrchion} {
		w, stopWay, err := start(ctx, s, dir, engine)
		if stopWay != nil {
			stops = append(stops, stopWay)
		}
		var missing missingError
		if errors.As(err, &missing) {
			fmt.Println("left out:", missing)
			continue
		}
		if err != nil {
			return nil, stop, err
		}
		ways = append(ways, w)
	}
	return ways, stop, nil
}

// missingError says what is not on this machine.
type missingError string

func (e missingError) Error() string { return string(e) }

const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
worker_processes auto;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  keepalive_requests 1000000;
  upstream engine { server %[2]s; keepalive 256; keepalive_requests 1000000; }
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

func startNginx(ctx context.Context, s settings, dir, engine string) (way, func(), error) {
	program := s.nginx
	for _, candidate := range []string{"nginx", "/usr/sbin/nginx"} {
		if found, err := exec.LookPath(candidate); program == "" && err == nil {
			program = found
		}
	}
	if program == "" {
		return way{}, nil, missingError("nginx is not installed (Debian: apt-get install nginx-light)")
	}
	target, err := url.Parse(engine)
	if err != nil {
		return way{}, nil, fmt.Errorf("the engine's URL: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return way{}, nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, target.Host, addr), 0o600); err != nil {
		return way{}, nil, fmt.Errorf("write nginx's configuration: %w", err)
	}
	stop, err := startProcess("nginx", program, "-p", dir, "-c", file)
	if err != nil {
		return way{}, nil, err
	}
	return way{"nginx", "http://" + addr}, stop, waitFor(ctx, "nginx", "http://"+addr+"/v1/models", modelName)
}

func startReverseProxy(ctx context.Context, _ settings, _, engine string) (way, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return way{}, nil, fmt.Errorf("find this program: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return way{}, nil, err
	}
	stop, err := startProcess("reverse proxy", self, reverseProxyCommand, addr, engine)
	if err != nil {
		return way{}, nil, err
	}
	return way{"reverseproxy", "http://" + addr}, stop, waitFor(ctx, "the reverse proxy", "http://"+addr+"/v1/models", modelName)
}

func startOrchion(ctx context.Context, s settings, dir, engine string) (w way, stop func(), err error) {
	orchestrator, nodeAgent := s.orchestrator, s.nodeAgent
	if orchestrator == "" {
		if orchestrator, err = build(ctx, dir, "orchestrator"); err != nil {
			return way{}, nil, err
		}
	}
	if nodeAgent == "" {
		if nodeAgent, err = build(ctx, dir, "node-agent"); err != nil {
			return way{}, nil, err
		}
	}
	dataDir := filepath.Join(dir, "orchestrator-data")
	stopOrchestrator, err := startProcess("orchestrator", orchestrator, "--port", "0", "--http-port", "0", "--data-dir", dataDir, "--log-level", "warn")
	if err != nil {
		return way{}, nil, err
	}
	addresses, err := waitForAddresses(ctx, filepath.Join(dataDir, "orchestrator.json"))
	if err != nil {
		return way{}, stopOrchestrator, err
	}
	stopAgent, err := startProcess("node agent", nodeAgent, "--orchestrator", addresses.GRPC, "--data-dir", filepath.Join(dir, "node-data"),
		"--adopt", engine, "--runtime", "none", "--log-level", "warn")
	if err != nil {
		return way{}, stopOrchestrator, err
	}
	stop = func() { stopAgent(); stopOrchestrator() }
	base := addresses.HTTP
	return way{"orchion", base}, stop, waitFor(ctx, "the model in Orchion's gateway", base+"/v1/models", `"`+modelName+`"`)
}

// build builds one of the programs as it is released.
func build(ctx context.Context, dir, name string) (string, error) {
	fmt.Println("building", name)
	out := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, "github.com/orchion/orchion/"+name+"/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, output)
	}
	return out, nil
}

// startProcess starts a program whose complaints are shown. stop interrupts it
// and waits for its end.
func startProcess(name, program string, args ...string) (stop func(), err error) {
	// Not tied to a context, which would kill it: stop ends it gracefully.
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ends after an interrupt is of no interest
	}()
	return func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}, nil
}

func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

type addresses struct {
	GRPC string `json:"grpcAddress"`
	HTTP string `json:"httpUrl"`
}

func waitForAddresses(ctx context.Context, file string) (addresses, error) {
	var a addresses
	err := poll(ctx, "the orchestrator", func() bool {
		data, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(data, &a) == nil && a.GRPC != "" && a.HTTP != ""
	})
	return a, err
}

// waitFor waits until a page answers with the text.
func waitFor(ctx context.Context, what, page, text string) error {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	return poll(ctx, what, func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
		if err != nil {
			return false
		}
		res, err := client.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return err == nil && strings.Contains(string(body), text)
	})
}

func poll(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !ready() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s did not come up: %w", what, ctx.Err())
		}
	}
	return nil
}
