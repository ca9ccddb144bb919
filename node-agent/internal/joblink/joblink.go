// Package joblink gives a job's container, and nothing else, a way to the
// gateway: an address on the container's own loopback.
//
// For each such job a small container is started first, the forwarder, made of
// this very program and running [ForwarderMain]. The job's container then joins
// the forwarder's network, so both see one loopback, on which the forwarder has
// been listening since before the job began. No other container and no process
// of the host is in that network.
//
//	job's container ── 127.0.0.1:11435 ── forwarder ── h2c ── node agent ── tunnel ── gateway
//	 (network of the forwarder)             │
//	                     control port, published on the host's 127.0.0.1
//
// The forwarder dials nothing. The node agent connects to its control port and
// each proves to the other that it knows a token made for this link alone;
// without it the port does nothing. The forwarder then opens an HTTP/2 stream on
// that connection for every connection of the job and copies bytes. When the
// agent restarts it connects again: the forwarder, and with it the network of
// the running job, stays.
//
// Standard input and output of the forwarder would have needed no port, but
// engines write what a container prints to their log, and a new agent could not
// tell where in a half-sent frame its predecessor was killed. A Unix socket in a
// mounted directory would not reach engines that run in a virtual machine.
package joblink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/selfimage"
)

// BaseURL is where the gateway answers in a job's container, as OPENAI_BASE_URL
// wants it.
const BaseURL = "http://127.0.0.1:11435/v1"

const (
	jobPort     = 11435 // on the shared loopback, for the job
	controlPort = 11436 // for the node agent
)

// Labels of a forwarder's container. They are apart from those of jobs, so that
// a forwarder is never taken for a job's container.
const (
	labelNode    = driver.LabelPrefix + "link.node"
	labelJob     = driver.LabelPrefix + "link.job"
	labelAttempt = driver.LabelPrefix + "link.attempt"
	// labelToken keeps the token for an agent that restarts. Who may read the
	// engine's labels may also enter its containers.
	labelToken = driver.LabelPrefix + "link.token"
)

// Config says what links are made with. All but the last two are required.
type Config struct {
	Driver driver.Driver
	// NodeID tells the forwarders of this node from those of another agent on
	// the same engine.
	NodeID string
	// Dial opens a connection from an attempt to the gateway, as
	// tunnel.Dialer.DialGateway does. The connection has CloseWrite.
	Dial func(ctx context.Context, jobID string, attempt int) (net.Conn, error)
	// Executable is the program that the forwarder's image is made of (see
	// selfimage.New); it must run ForwarderMain when called with "job-forwarder".
	Executable string
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

// Links makes the links of one node.
type Links struct {
	cfg   Config
	log   *slog.Logger
	image *selfimage.Builder
}

// New makes Links. It creates nothing yet.
func New(cfg Config) *Links {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Links{cfg: cfg, log: cfg.Logger, image: selfimage.New(cfg.Driver, cfg.Executable)}
}

// readyTimeout is how long a forwarder may take to come up.
const readyTimeout = 30 * time.Second

// Open makes the link of an attempt, or takes over the one that an earlier run
// of the agent left, and returns once the job's container may be started. On
// an error nothing stays behind.
func (l *Links) Open(ctx context.Context, jobID string, attempt int) (*Link, error) {
	labels := l.labels(jobID, attempt)
	found, err := l.cfg.Driver.List(ctx, labels)
	if err != nil {
		return nil, fmt.Errorf("look for the job's forwarder: %w", err)
	}
	for _, c := range found {
		if c.State == driver.StateRunning && len(c.Labels[labelToken]) == 2*tokenSize {
			return l.attach(ctx, c.ID, c.Labels[labelToken], jobID, attempt)
		}
		if err := l.cfg.Driver.Remove(ctx, c.ID); err != nil {
			return nil, fmt.Errorf("remove a forwarder that has ended: %w", err)
		}
	}
	image, err := l.image.Ensure(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the image of the job's forwarder: %w", err)
	}
	token := newToken()
	labels[labelToken] = token
	id, err := l.cfg.Driver.Create(ctx, forwarderSpec(image, token, labels))
	if err != nil {
		return nil, fmt.Errorf("create the job's forwarder: %w", err)
	}
	if err := l.cfg.Driver.Start(ctx, id); err != nil {
		return nil, errors.Join(fmt.Errorf("start the job's forwarder: %w", err), l.removeForwarder(ctx, id))
	}
	link, err := l.attach(ctx, id, token, jobID, attempt)
	if err != nil {
		return nil, errors.Join(err, l.removeForwarder(ctx, id))
	}
	return link, nil
}

func (l *Links) labels(jobID string, attempt int) map[string]string {
	return map[string]string{
		labelNode:    l.cfg.NodeID,
		labelJob:     jobID,
		labelAttempt: strconv.Itoa(attempt),
	}
}

// removeForwarder removes a forwarder also when ctx has ended.
func (l *Links) removeForwarder(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := l.cfg.Driver.Remove(ctx, id); err != nil {
		return fmt.Errorf("remove the job's forwarder: %w", err)
	}
	return nil
}

// Reap removes the forwarders of this node that keep says nobody needs, such as
// those of attempts that ended while no agent ran.
func (l *Links) Reap(ctx context.Context, keep func(jobID string, attempt int) bool) error {
	found, err := l.cfg.Driver.List(ctx, map[string]string{labelNode: l.cfg.NodeID})
	if err != nil {
		return fmt.Errorf("look for forwarders: %w", err)
	}
	var failed []error
	for _, c := range found {
		attempt, err := strconv.Atoi(c.Labels[labelAttempt])
		if err == nil && keep(c.Labels[labelJob], attempt) {
			continue
		}
		failed = append(failed, l.removeForwarder(ctx, c.ID))
	}
	return errors.Join(failed...)
}

// forwarderMemory bounds a forwarder, whose buffers are bounded too.
const forwarderMemory = 128 << 20

func forwarderSpec(image, token string, labels map[string]string) driver.ContainerSpec {
	spec := driver.JobSpec(image)
	spec.Labels = labels
	spec.User = "65534:65534" // nobody
	spec.Env = map[string]string{envToken: token, "GOMEMLIMIT": "96MiB"}
	spec.Resources = driver.Resources{MemoryBytes: forwarderMemory, PIDs: 64}
	spec.Ports = []driver.Port{{Container: controlPort}}
	return spec
}

// tokenSize is in bytes; the token travels as hexadecimal digits.
const tokenSize = 32

func newToken() string {
	token := make([]byte, tokenSize)
	_, _ = rand.Read(token) // never fails
	return hex.EncodeToString(token)
}
