package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
	"github.com/orchion/orchion/shared/cmd/dev/internal/supervise"
)

// readyTimeout is how long a part may take until it answers.
const readyTimeout = time.Minute

// maxNodes is more node agents than one machine can be of use for.
const maxNodes = 64

type runOptions struct {
	nodes       int
	port        int
	httpPort    int
	dataDir     string
	noDashboard bool
	demo        bool
	model       string
	offline     bool
	yes         bool
}

func runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run-all",
		Short: "Set up what is missing, run an orchestrator and node agents until Ctrl-C",
		Long: `Sets up what is missing (Go modules, npm packages, dashboard), builds, starts an
orchestrator and node agents on this machine, and stops them all on Ctrl-C.

With --demo it goes on to do what Orchion is for: it deploys a model in a
container, runs an AI agent as a job that calls the model through Orchion, prints
what the agent said, and leaves everything running for the browser.`,
		Example: `  run-all.sh --demo
  run-all.sh --nodes 2 --http-port 9090
  run-all.sh --demo --offline        # with an Ollama and a model built here, pulling nothing`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return &usageError{err}
			}
			r, err := findRepo()
			if err != nil {
				return err
			}
			return run(cmd.Context(), r, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.nodes, "nodes", 1, "how many node agents to run, each with an id and a data folder of its own")
	f.IntVar(&o.port, "port", 50051, "the orchestrator's gRPC port")
	f.IntVar(&o.httpPort, "http-port", 8080, "the orchestrator's port for dashboard, REST and the OpenAI API")
	f.StringVar(&o.dataDir, "data-dir", "", "where the parts keep their data (default .orchion in the checkout)")
	f.BoolVar(&o.noDashboard, "no-dashboard", false, "leave the dashboard out; needs no Node.js")
	f.BoolVar(&o.demo, "demo", false, "do the main job: a model on a node, an agent in a container, one talking to the other")
	f.StringVar(&o.model, "model", "", "with --demo: the model to deploy (default qwen3:0.6b; tiny with --offline)")
	f.BoolVar(&o.offline, "offline", false, "with --demo: use an Ollama image and a model built here instead of pulled ones")
	f.BoolVar(&o.yes, "yes", false, "install and start a container engine when none answers")
	return cmd
}

func (o *runOptions) validate() error {
	switch {
	case o.nodes < 1 || o.nodes > maxNodes:
		return fmt.Errorf("--nodes is %d: want 1 to %d", o.nodes, maxNodes)
	case o.port < 1 || o.port > 65535:
		return fmt.Errorf("--port is %d: want 1 to 65535", o.port)
	case o.httpPort < 1 || o.httpPort > 65535:
		return fmt.Errorf("--http-port is %d: want 1 to 65535", o.httpPort)
	case o.port == o.httpPort:
		return fmt.Errorf("--port and --http-port are both %d: they must differ", o.port)
	case o.offline && !o.demo:
		return errors.New("--offline is for --demo: give both")
	case o.model != "" && !o.demo:
		return errors.New("--model is for --demo: give both")
	}
	return nil
}

func (o *runOptions) url() string { return "http://localhost:" + strconv.Itoa(o.httpPort) }

func run(ctx context.Context, r repo.Repo, o runOptions) (err error) {
	ctx, cancel := withParent(ctx)
	defer cancel()
	if o.dataDir == "" {
		o.dataDir = r.Path(".orchion")
	}
	if o.dataDir, err = filepath.Abs(o.dataDir); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	engines, err := ensureEngine(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engines.stop(context.WithoutCancel(ctx))) }()
	if err := buildAll(ctx, r, buildOptions{noDashboard: o.noDashboard}); err != nil {
		return err
	}

	mux := supervise.NewMux(os.Stdout, len("orchestrator"), colourful())
	group := supervise.NewGroup(mux)
	defer group.Stop()
	s := &session{repo: r, options: o, group: group, mux: mux, env: engines.env, out: mux.Writer("run-all")}
	err = s.run(ctx)
	if ctx.Err() != nil {
		fmt.Println("stopping (press Ctrl-C again to stop at once)")
		restore := killOnSecondInterrupt(group)
		group.Stop()
		restore()
		return nil
	}
	return err
}

// session is one run of all parts.
type session struct {
	repo    repo.Repo
	options runOptions
	group   *supervise.Group
	mux     *supervise.Mux
	// env is for the node agents.
	env []string
	out io.Writer
}

func (s *session) run(ctx context.Context) error {
	o := s.options
	err := s.start(ctx, "orchestrator", nil, func(ctx context.Context) (bool, error) {
		return answersOK(ctx, o.url()+"/readyz")
	}, "--port", strconv.Itoa(o.port), "--http-port", strconv.Itoa(o.httpPort), "--data-dir", filepath.Join(o.dataDir, "orchestrator"))
	if err != nil {
		return err
	}
	for n := range o.nodes {
		id := nodeID(o.dataDir, n+1)
		err := s.start(ctx, id, s.env, func(ctx context.Context) (bool, error) { return s.registered(ctx, id) },
			"--orchestrator", "localhost:"+strconv.Itoa(o.port), "--node-id", id, "--data-dir", filepath.Join(o.dataDir, "node-"+strconv.Itoa(n+1)))
		if err != nil {
			return err
		}
	}
	s.say("ready: %s", o.url())
	s.say("  dashboard    %s/", o.url())
	s.say("  REST API     %s/api/nodes    (document: %s/api/openapi.json)", o.url(), o.url())
	s.say("  OpenAI API   %s/v1", o.url())
	s.say("  gRPC         localhost:%d", o.port)
	if o.demo {
		if err := s.whileAlive(ctx, s.demo); err != nil {
			return err
		}
	}
	s.say("press Ctrl-C to stop")
	return s.whileAlive(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

// nodeID names the n-th node agent of a data folder: always the same, and apart
// from those of another checkout's run on the same container engine, where a
// node knows its containers by its id.
func nodeID(dataDir string, n int) string {
	sum := sha256.Sum256([]byte(dataDir))
	return fmt.Sprintf("node-%d-%x", n, sum[:2])
}

// start starts a part and waits until it is ready.
func (s *session) start(ctx context.Context, name string, env []string, ready func(context.Context) (bool, error), args ...string) error {
	program := name
	if name != "orchestrator" {
		program = "node-agent"
	}
	path := s.repo.Path("bin", program)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if err := s.group.Start(supervise.Program{Name: name, Path: path, Args: args, Dir: s.repo.Root, Env: env}); err != nil {
		return err
	}
	return s.whileAlive(ctx, func(ctx context.Context) error {
		return waitUntil(ctx, name, ready)
	})
}

// whileAlive does something for as long as all parts live. The first failure of
// a part ends it, and is returned.
func (s *session) whileAlive(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case failure := <-s.group.Failed():
		cancel()
		<-done //nolint:errcheck // it fails for want of the part that failed
		return failure
	}
}

func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}

// waitUntil asks again and again whether a part is ready.
func waitUntil(ctx context.Context, name string, ready func(context.Context) (bool, error)) error {
	bounded, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := ready(bounded)
		if ok {
			return nil
		}
		if err != nil && bounded.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s is not ready after %s: %w", name, readyTimeout, last)
		}
	}
}

func answersOK(ctx context.Context, url string) (bool, error) {
	body, err := get(ctx, url)
	if err != nil {
		return false, err
	}
	return true, body.Close()
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s answers %s", url, response.Status)
	}
	return response.Body, nil
}

// nodeInfo is what run-all wants to know of a node.
type nodeInfo struct {
	ID           string `json:"id"`
	Capabilities struct {
		Runtimes []struct {
			Name     string `json:"name"`
			Endpoint string `json:"endpoint"`
		} `json:"runtimes"`
	} `json:"capabilities"`
}

func (s *session) nodes(ctx context.Context) ([]nodeInfo, error) {
	body, err := get(ctx, s.options.url()+"/api/nodes")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var list struct {
		Nodes []nodeInfo `json:"nodes"`
	}
	if err := json.NewDecoder(io.LimitReader(body, 16<<20)).Decode(&list); err != nil {
		return nil, fmt.Errorf("read the list of nodes: %w", err)
	}
	return list.Nodes, nil
}

func (s *session) registered(ctx context.Context, id string) (bool, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return false, err
	}
	for _, n := range nodes {
		if n.ID == id {
			return true, nil
		}
	}
	return false, errors.New("it is not in the list of nodes")
}

// colourful tells whether our output is looked at by a person who does not mind
// colours (https://no-color.org).
func colourful() bool {
	return os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(os.Stdout.Fd()))
}
