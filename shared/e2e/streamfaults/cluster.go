//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/shared/testbed/program"
	"github.com/orchion/orchion/shared/testbed/ways"
)

const (
	heartbeatTimeout = 2 * time.Second
	patience         = time.Minute
)

// cluster is an orchestrator and machines, each with a node agent that adopts an engine of
// its own; all are processes.
type cluster struct {
	bin, dir, self string
	env            []string
	direct         bool
	url, grpc      string
	gateway        *http.Client
	control        *control
	orchestrator   *program.Program
	machines       []*machine
	asked          atomic.Int64
}

// machine is a node.
type machine struct {
	c             *cluster
	name          string
	engineAddress string
	engine, agent *program.Program
	way           ways.Way
}

func startCluster(ctx context.Context, bin, dir string, s settings, machines int) (*cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, dir: dir, self: self, direct: s.direct, gateway: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	if s.bug != "" {
		c.env = []string{"ORCHION_PLANTED_BUG=" + s.bug}
	}
	if c.control, err = newControl(ctx); err != nil {
		return c, err
	}
	grpcAddress, err := freeAddress(ctx)
	if err != nil {
		return c, err
	}
	httpAddress, err := freeAddress(ctx)
	if err != nil {
		return c, err
	}
	c.grpc, c.url = grpcAddress, "http://"+httpAddress
	if err := c.startOrchestrator(ctx); err != nil {
		return c, err
	}
	for i := range machines {
		m := &machine{c: c, name: "machine-" + strconv.Itoa(i+1)}
		c.machines = append(c.machines, m)
		if m.engineAddress, err = freeAddress(ctx); err != nil {
			return c, err
		}
		if m.way, err = ways.NewProxy(c.grpc); err != nil {
			return c, err
		}
		if err := m.startEngine(ctx); err != nil {
			return c, err
		}
		if err := m.startAgent(); err != nil {
			return c, err
		}
	}
	return c, c.allServe(ctx)
}

func (c *cluster) stop() {
	for _, m := range c.machines {
		for _, p := range []*program.Program{m.agent, m.engine} {
			if p != nil {
				p.Kill()
			}
		}
		if m.way != nil {
			m.way.Close()
		}
	}
	if c.orchestrator != nil {
		c.orchestrator.Kill()
	}
	if c.control != nil {
		_ = c.control.listener.Close()
	}
	c.gateway.CloseIdleConnections()
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }

func (c *cluster) startOrchestrator(ctx context.Context) error {
	p, err := program.Launch(filepath.Join(c.bin, "orchestrator"), filepath.Join(c.dir, "orchestrator.log"), c.env,
		"--port", portOf(c.grpc), "--http-port", portOf(c.url), "--data-dir", filepath.Join(c.dir, "orchestrator"),
		"--heartbeat-timeout", heartbeatTimeout.String(), "--log-level", "debug", "--shutdown-timeout", "5s",
		"--direct-path="+strconv.FormatBool(c.direct))
	if err != nil {
		return err
	}
	c.orchestrator = p
	return program.Eventually(ctx, patience, "the orchestrator is ready", func() error {
		if !p.Alive() {
			return program.Hopeless(fmt.Errorf("the orchestrator ended; see %s", c.dir))
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		response, err := c.gateway.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
}

func (m *machine) startEngine(ctx context.Context) (err error) {
	m.engine, err = program.Launch(m.c.self, filepath.Join(m.c.dir, m.name+"-engine.log"), nil,
		engineCommand, m.engineAddress, m.c.control.listener.Addr().String(), m.name)
	if err != nil {
		return err
	}
	return program.Eventually(ctx, patience, "the engine of "+m.name+" listens", func() error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.engineAddress)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

func (m *machine) startAgent() (err error) {
	m.agent, err = program.Launch(filepath.Join(m.c.bin, "node-agent"), filepath.Join(m.c.dir, m.name+".log"), m.c.env,
		"--orchestrator", m.way.Address(), "--node-id", m.name, "--labels", m.label(), "--data-dir", filepath.Join(m.c.dir, m.name),
		"--heartbeat-interval", "1s", "--runtime", "none", "--adopt", "http://"+m.engineAddress, "--shutdown-timeout", "5s", "--log-level", "debug")
	return err
}

// hold cuts the machine off without a word until the answer is called.
func (m *machine) hold() (release func(), err error) { return m.way.Hold(ways.Up, ways.Down) }

func (m *machine) label() string { return "machine=" + m.name }

// question makes one that nobody else has asked.
func (c *cluster) question(p phase) question {
	return question{id: "q" + strconv.FormatInt(c.asked.Add(1), 10), phase: p}
}

// allServe waits until each machine answers.
func (c *cluster) allServe(ctx context.Context) error {
	for _, m := range c.machines {
		if err := c.serves(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) serves(ctx context.Context, m *machine) error {
	return program.Eventually(ctx, patience, m.name+" serves its model", func() error {
		if r := c.ask(ctx, c.question(never), small, m.label()); r.outcome != whole {
			return fmt.Errorf("the answer was %v", r)
		}
		return nil
	})
}
