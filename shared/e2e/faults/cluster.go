//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/shared/testbed/enginestub"
	"github.com/orchion/orchion/shared/testbed/program"
	"github.com/orchion/orchion/shared/testbed/ways"
)

// Times of the programs under test, short so that much happens in little time.
const (
	heartbeatTimeout = 2 * time.Second
	leaseTTL         = 3 * time.Second
	patience         = 30 * time.Second
)

// cluster is an orchestrator and machines with node agents, all real processes
// but the container engines.
type cluster struct {
	bin, dir string
	env      []string
	url      string
	grpc     string
	http     *http.Client
	machines []*machine

	// turn is held by the fault that works on the orchestrator.
	turn sync.Mutex
	mu   sync.Mutex // guards orchestrator
	orch *program.Program
}

// machine is a node: its agent, its engine and its way to the orchestrator.
type machine struct {
	c      *cluster
	id     string
	engine *enginestub.Engine
	way    ways.Way
	// turn is held by the fault that works on the machine.
	turn  sync.Mutex
	agent *program.Program
}

// startCluster starts an orchestrator and so many machines, in a folder.
func startCluster(ctx context.Context, bin, dir, bug string, machines int) (*cluster, error) {
	c := &cluster{bin: bin, dir: dir, http: &http.Client{Timeout: 5 * time.Second}}
	// Machines that vanish together are waited for, as long as a run has time
	// for; a planted bug is to show as often as it can.
	c.env = []string{"ORCHION_PAUSE_LIMIT=10s"}
	if bug != "" {
		c.env = []string{"ORCHION_PAUSE_LIMIT=0", "ORCHION_PLANTED_BUG=" + bug}
	}
	if err := os.MkdirAll(c.dataDir(), 0o700); err != nil {
		return nil, err
	}
	if err := c.startOrchestrator(ctx, "0", "0"); err != nil {
		return nil, err
	}
	for i := range machines {
		m := &machine{c: c, id: "machine-" + strconv.Itoa(i+1)}
		c.machines = append(c.machines, m)
		var err error
		if m.engine, err = enginestub.Start(filepath.Join(dir, m.id+".sock")); err != nil {
			return c, err
		}
		if m.way, err = newWay(i+1, c.grpc); err != nil {
			return c, err
		}
		if err := m.startAgent(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *cluster) dataDir() string { return filepath.Join(c.dir, "orchestrator") }

// startOrchestrator starts it and waits until it is ready.
func (c *cluster) startOrchestrator(ctx context.Context, grpcPort, httpPort string) error {
	p, err := program.Launch(filepath.Join(c.bin, "orchestrator"), filepath.Join(c.dir, "orchestrator.log"), c.env,
		"--port", grpcPort, "--http-port", httpPort, "--data-dir", c.dataDir(), "--log-level", "debug",
		"--heartbeat-timeout", heartbeatTimeout.String(), "--lease-ttl", leaseTTL.String())
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.orch = p
	c.mu.Unlock()
	ready := func() error {
		var addresses struct {
			PID         int    `json:"pid"`
			GRPCAddress string `json:"grpcAddress"`
			HTTPURL     string `json:"httpUrl"`
		}
		raw, err := os.ReadFile(filepath.Join(c.dataDir(), "orchestrator.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &addresses); err != nil {
			return err
		}
		if addresses.PID != p.PID() {
			return errors.New("the addresses are those of an earlier run")
		}
		c.url, c.grpc = addresses.HTTPURL, addresses.GRPCAddress
		return nil
	}
	if grpcPort != "0" {
		ready = func() error { return c.call(ctx, http.MethodGet, "/readyz", nil, nil) }
	}
	return program.Eventually(ctx, patience, "the orchestrator is ready", func() error {
		if !p.Alive() {
			return program.Hopeless(errors.New("the orchestrator ended; see " + filepath.Join(c.dir, "orchestrator.log")))
		}
		return ready()
	})
}

// restartOrchestrator starts it where it was.
func (c *cluster) restartOrchestrator(ctx context.Context) error {
	port := func(address string) string { return address[strings.LastIndex(address, ":")+1:] }
	return c.startOrchestrator(ctx, port(c.grpc), port(c.url))
}

func (c *cluster) orchestrator() *program.Program {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orch
}

// stop ends everything.
func (c *cluster) stop() {
	for _, m := range c.machines {
		if m.agent != nil {
			m.agent.Kill()
		}
		if m.way != nil {
			m.way.Close()
		}
		if m.engine != nil {
			m.engine.Close()
		}
	}
	if p := c.orchestrator(); p != nil {
		p.Kill()
	}
	c.http.CloseIdleConnections()
}

func (m *machine) startAgent() error {
	agent, err := program.Launch(filepath.Join(m.c.bin, "node-agent"), filepath.Join(m.c.dir, m.id+".log"),
		append([]string{"DOCKER_HOST=" + m.engine.Host()}, m.c.env...),
		"--orchestrator", m.way.Address(), "--node-id", m.id, "--data-dir", filepath.Join(m.c.dir, m.id),
		"--heartbeat-interval", "1s", "--adopt", "none", "--shutdown-timeout", "5s", "--log-level", "debug", "--max-jobs", "32")
	if err != nil {
		return err
	}
	m.agent = agent
	return nil
}

// statusError is an answer other than 2xx.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d %s", e.status, e.body) }

// call makes a REST request.
func (c *cluster) call(ctx context.Context, method, path string, body, out proto.Message) error {
	var payload io.Reader
	if body != nil {
		data, err := protojson.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, payload)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return &statusError{response.StatusCode, string(data)}
	}
	if out == nil {
		return nil
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, out)
}
