// Package hosting runs the containers of engines on a node: one for each key, made once,
// found again after a restart of the node agent, made anew when what it should be changed.
package hosting

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
)

// Host makes and finds the containers of one engine on one node.
type Host struct {
	Driver driver.Driver
	// NodeID tells this node's containers from those of other nodes on the same engine.
	NodeID string
	// Engine is the engine's name.
	Engine string

	mu sync.Mutex // held while containers are looked up, made or removed
}

// Container is what a container of an engine should be.
type Container struct {
	// Key tells it from the engine's other containers on this node: the image where all
	// replicas share one, the replica where each has its own.
	Key string
	// Spec is completed with a name and the labels that find it again.
	Spec driver.ContainerSpec
	// Port is the container's port that is published on 127.0.0.1.
	Port uint16
	// Volumes are created, with this node's labels, before the container.
	Volumes []string
}

// Running is a container that runs.
type Running struct {
	ID       string
	Endpoint string // http://127.0.0.1:PORT
}

// specVersion changes with what a driver makes of a spec, so that containers made by an
// older node agent are replaced. 2: engines have a network of their own.
const specVersion = "2\n"

const stopGrace = 10 * time.Second

// PullImage makes image available, reporting progress as PULLING up to the given percent.
func (h *Host) PullImage(ctx context.Context, image string, r *engine.Reporter, until float64) error {
	found, err := h.Driver.ImageExists(ctx, image)
	if err != nil || found {
		return err
	}
	r.Part(until)
	reason := "pulling image " + image
	r.Pulling(0, 0, 0, reason)
	return h.Driver.EnsureImage(ctx, image, driver.Pull{}, func(p driver.PullProgress) {
		r.Pulling(p.Percent, p.CompletedBytes, p.TotalBytes, reason)
	})
}

// Ensure makes c run: the one that is there if it is as it should be, a new one otherwise.
func (h *Host) Ensure(ctx context.Context, c Container) (Running, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	spec, err := h.completeLocked(c)
	if err != nil {
		return Running{}, err
	}
	list, err := h.Driver.List(ctx, h.labels())
	if err != nil {
		return Running{}, err
	}
	id := ""
	for _, old := range list {
		if old.Name != spec.Name {
			continue
		}
		if old.Labels[engine.LabelSpec] == spec.Labels[engine.LabelSpec] {
			id = old.ID
			break
		}
		if err := h.removeLocked(ctx, old); err != nil {
			return Running{}, err
		}
	}
	if id == "" {
		for _, name := range c.Volumes {
			if err := h.Driver.CreateVolume(ctx, name, h.labels()); err != nil {
				return Running{}, err
			}
		}
		if id, err = h.Driver.Create(ctx, spec); err != nil {
			return Running{}, err
		}
	}
	if err := h.Driver.Start(ctx, id); err != nil {
		return Running{}, err
	}
	return h.endpoint(ctx, id, c.Port)
}

func (h *Host) endpoint(ctx context.Context, id string, port uint16) (Running, error) {
	info, err := h.Driver.Inspect(ctx, id)
	if err != nil {
		return Running{}, err
	}
	if info.State != driver.StateRunning {
		return Running{}, h.ended(ctx, id, info.Exit)
	}
	host, ok := info.HostPort(port)
	if !ok {
		return Running{}, &engine.Error{
			Code: engine.CodeUnavailable, Engine: h.Engine, Op: "start container " + info.Name,
			Message: fmt.Sprintf("its port %d is not published", port),
		}
	}
	return Running{ID: id, Endpoint: fmt.Sprintf("http://127.0.0.1:%d", host)}, nil
}

// Find gives the running container of key; false when there is none.
func (h *Host) Find(ctx context.Context, key string, port uint16) (Running, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, err := h.Driver.List(ctx, h.labels())
	if err != nil {
		return Running{}, false, err
	}
	for _, c := range list {
		if c.Name != h.name(key) || c.State != driver.StateRunning {
			continue
		}
		if host, ok := c.HostPort(port); ok {
			return Running{ID: c.ID, Endpoint: fmt.Sprintf("http://127.0.0.1:%d", host)}, true, nil
		}
	}
	return Running{}, false, nil
}

// Remove stops and removes the container of key, unless keep says, once nobody else can
// make or remove one, that it is still needed.
func (h *Host) Remove(ctx context.Context, key string, keep func() bool) error {
	return h.removeAll(ctx, func(c driver.Container) bool { return c.Name == h.name(key) && !keep() })
}

// Prune removes all containers but those of the keys that keep accepts.
func (h *Host) Prune(ctx context.Context, keep func() []string) error {
	var names map[string]bool
	return h.removeAll(ctx, func(c driver.Container) bool {
		if names == nil { // under the lock
			names = map[string]bool{}
			for _, key := range keep() {
				names[h.name(key)] = true
			}
		}
		return !names[c.Name]
	})
}

func (h *Host) removeAll(ctx context.Context, unwanted func(driver.Container) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, err := h.Driver.List(ctx, h.labels())
	if err != nil {
		return err
	}
	for _, c := range list {
		if unwanted(c) {
			err = errors.Join(err, h.removeLocked(ctx, c))
		}
	}
	return err
}

// removeLocked stops first: an engine that is killed may leave half a file in its volume.
func (h *Host) removeLocked(ctx context.Context, c driver.Container) error {
	if err := h.Driver.Stop(ctx, c.ID, stopGrace); err != nil && driver.CodeOf(err) != driver.CodeNotFound {
		return err
	}
	return h.Driver.Remove(ctx, c.ID)
}

func (h *Host) labels() map[string]string {
	return map[string]string{engine.LabelNode: h.NodeID, engine.LabelEngine: h.Engine}
}

// completeLocked gives the spec its name, port and labels.
func (h *Host) completeLocked(c Container) (driver.ContainerSpec, error) {
	spec := c.Spec
	spec.Name = h.name(c.Key)
	spec.Ports = []driver.Port{{Container: c.Port}}
	labels := h.labels()
	for key, value := range c.Spec.Labels {
		labels[key] = value
	}
	spec.Labels = labels
	data, err := json.Marshal(spec) // sorts maps, so equal specs have equal digests
	if err != nil {
		return spec, fmt.Errorf("digest of container %s: %w", spec.Name, err)
	}
	labels[engine.LabelSpec] = digest(specVersion + string(data))
	return spec, nil
}

// name is the same for the same key, so that the engine itself refuses a second one.
func (h *Host) name(key string) string {
	return "orchion-" + h.Engine + "-" + digest(h.NodeID + "\n" + key)[:12]
}

// VolumeName names a volume of this node, such as "orchion-ollama-1f3a...". Each node has
// its own: two engines that share a folder clean up after each other.
func (h *Host) VolumeName(what string) string {
	return "orchion-" + what + "-" + digest(h.NodeID)[:12]
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// pollInterval is how often WaitHealthy asks.
const pollInterval = 250 * time.Millisecond

// WaitHealthy asks healthy until it says nil. It ends early, with the container's last
// words, when the container does; and after timeout with what healthy said last.
func (h *Host) WaitHealthy(ctx context.Context, id string, timeout time.Duration, healthy func(context.Context) error) error {
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := healthy(limit)
		if err == nil {
			return nil
		}
		info, inspectErr := h.Driver.Inspect(ctx, id)
		if inspectErr != nil {
			return inspectErr
		}
		if info.State != driver.StateRunning {
			return h.ended(ctx, id, info.Exit)
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("%s: wait for the engine: %w", h.Engine, ctx.Err())
			}
			return &engine.Error{
				Code: engine.CodeUnavailable, Engine: h.Engine, Op: "wait for the engine",
				Message: fmt.Sprintf("not healthy after %v", timeout), Err: err,
			}
		}
	}
}

// Limits on what of a container's output becomes part of an error.
const (
	lastLines    = 5
	lastLineSize = 300
)

// ended describes a container that should run and does not.
func (h *Host) ended(ctx context.Context, id string, exit driver.Exit) error {
	var lines []string
	// The reason is worth having, its absence is no reason to fail in another way.
	_ = h.Driver.Logs(ctx, id, driver.LogOptions{}, func(e driver.LogEntry) error {
		if text := strings.TrimSpace(e.Text); text != "" {
			lines = append(lines, text[:min(len(text), lastLineSize)])
			lines = lines[max(0, len(lines)-lastLines):]
		}
		return nil
	})
	e := &engine.Error{
		Code: engine.CodeFailed, Engine: h.Engine, Op: "run the engine",
		Message: fmt.Sprintf("its container ended with exit code %d", exit.Code),
	}
	if exit.OOMKilled {
		e.Code = engine.CodeNoResources
		e.Message += " for passing its memory limit"
	}
	if exit.Error != "" {
		e.Message += ": " + exit.Error
	}
	if len(lines) > 0 {
		e.Message += "; it said last: " + strings.ToValidUTF8(strings.Join(lines, " | "), "?")
	}
	return e
}
