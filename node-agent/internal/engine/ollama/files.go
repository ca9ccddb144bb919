package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/modelshare"
)

// A model's files lie where Ollama's server/modelpath.go puts them.
const (
	manifestFolder  = modelFolder + "/models/manifests"
	blobFolder      = modelFolder + "/models/blobs"
	defaultRegistry = "registry.ollama.ai"
)

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// manifestPath is where the manifest of a model lies, by its canonical name.
func manifestPath(model string) string {
	name, tag, _ := cutLast(model, ":")
	parts := strings.Split(name, "/")
	switch len(parts) {
	case 1:
		parts = append([]string{defaultRegistry, "library"}, parts...)
	case 2:
		parts = append([]string{defaultRegistry}, parts...)
	}
	return path.Join(manifestFolder, path.Join(parts...), tag)
}

// cutLast is strings.Cut around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func blobPath(digest string) string {
	return path.Join(blobFolder, strings.Replace(digest, ":", "-", 1))
}

// manifest names the files of a model: that of an OCI image.
type manifest struct {
	Config layer   `json:"config"`
	Layers []layer `json:"layers"`
}

type layer struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Limits on a manifest, which may come from another node.
const (
	maxManifest = 4 << 20
	maxLayers   = 10_000
)

func parseManifest(data []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("the manifest: %w", err)
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxLayers {
		return m, fmt.Errorf("the manifest has %d layers; it must have 1 to %d", len(m.Layers), maxLayers)
	}
	for _, l := range m.files() {
		if !digestRE.MatchString(l.Digest) || l.Size < 0 {
			return m, fmt.Errorf("the manifest names a file %q of %d bytes", l.Digest, l.Size)
		}
	}
	return m, nil
}

// files gives the model's files, each once and the smallest first, so that what is wrong
// with a transfer shows before the weights have come.
func (m manifest) files() []layer {
	all := append([]layer{m.Config}, m.Layers...)
	slices.SortFunc(all, func(a, b layer) int {
		if a.Size != b.Size {
			return int(max(-1, min(1, a.Size-b.Size)))
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return slices.Compact(all)
}

// CopyFile implements modelshare.Source.
func (e *Engine) CopyFile(ctx context.Context, replicaID, digest string, offset int64, begin func(total int64) (io.Writer, error)) error {
	e.mu.Lock()
	spec, ok := e.replicas[replicaID]
	e.mu.Unlock()
	if !ok {
		return modelshare.ErrNoFile
	}
	image, err := check(spec)
	if err != nil {
		return err
	}
	running, found, err := e.host.Find(ctx, keyOf(image, spec), port)
	if err != nil {
		return err
	}
	if !found {
		return modelshare.ErrNoFile
	}
	at := manifestPath(canonical(spec.Model))
	if digest != "" {
		if err := e.belongs(ctx, running.ID, at, digest); err != nil {
			return err
		}
		at = blobPath(digest)
	}
	return e.copyOut(ctx, running.ID, at, func(f *driver.Copied) error {
		w, err := begin(f.Size)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, f.Content, offset); err != nil {
			return fmt.Errorf("leave out what is there already: %w", err)
		}
		_, err = io.Copy(w, f.Content)
		return err
	})
}

// belongs says whether a file is one of the model with the manifest at a path.
func (e *Engine) belongs(ctx context.Context, id, at, digest string) error {
	var data []byte
	err := e.copyOut(ctx, id, at, func(f *driver.Copied) (err error) {
		data, err = io.ReadAll(io.LimitReader(f.Content, maxManifest))
		return err
	})
	if err != nil {
		return err
	}
	m, err := parseManifest(data)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(m.files(), func(l layer) bool { return l.Digest == digest }) {
		return modelshare.ErrNoFile
	}
	return nil
}

// copyOut hands one file of a container to take.
func (e *Engine) copyOut(ctx context.Context, id, at string, take func(*driver.Copied) error) error {
	taken := false
	err := e.cfg.Driver.CopyOut(ctx, id, at, func(f *driver.Copied) error {
		if f.Kind != driver.CopiedFile || taken {
			return nil
		}
		taken = true
		return take(f)
	})
	if driver.CodeOf(err) == driver.CodeNoFile || err == nil && !taken {
		return modelshare.ErrNoFile
	}
	return err
}

// Peers are the other nodes, as sources of models.
type Peers interface {
	// Manifest gives the manifest of a replica's model and the node it comes from; it waits
	// while another node gets the model from outside. ErrNoPeer: get it from outside.
	Manifest(ctx context.Context, replicaID string, awaited func(nodeID string)) (manifest []byte, nodeID string, err error)
	// File gives a file of the replica's model, verified, until it is released.
	File(ctx context.Context, replicaID, digest string, progress func(bytes int64)) (PeerFile, error)
}

// PeerFile is a file that came from another node.
type PeerFile interface {
	Open() (io.ReadCloser, error)
	Release()
}

// ErrNoPeer says that no other node has a model, nor will soon.
var ErrNoPeer = errors.New("no other node has the model")

// fromPeers gets a model from another node. It says whether it is there now; if it is not,
// it is to be got from outside, and why tells what went wrong with the other nodes, if
// anything did. err is only that of ctx.
func (e *Engine) fromPeers(ctx context.Context, c *api, containerID string, spec engine.Spec, model string, r *engine.Reporter) (there bool, why, err error) {
	if e.cfg.Peers == nil {
		return false, nil, nil
	}
	err = e.copyFromPeers(ctx, c, containerID, spec, model, r)
	switch {
	case err == nil:
		return true, nil, nil
	case ctx.Err() != nil:
		return false, nil, fmt.Errorf("%s: copy model %s: %w", name, model, ctx.Err())
	case errors.Is(err, ErrNoPeer):
		return false, nil, nil
	}
	return false, err, nil
}

func (e *Engine) copyFromPeers(ctx context.Context, c *api, containerID string, spec engine.Spec, model string, r *engine.Reporter) error {
	data, nodeID, err := e.cfg.Peers.Manifest(ctx, spec.ReplicaID, func(nodeID string) {
		r.Note("waiting for node " + nodeID + ", which pulls model " + model)
	})
	if err != nil {
		return err
	}
	m, err := parseManifest(data)
	if err != nil {
		return err
	}
	files := m.files()
	var total, done int64
	for _, l := range files {
		total += l.Size
	}
	reason := "copying model " + model + " from node " + nodeID
	report := func(more int64) {
		completed := min(done+more, total)
		r.Pulling(99*float64(completed)/float64(max(total, 1)), completed, total, reason)
	}
	report(0)
	for _, l := range files {
		if err := e.takeFile(ctx, c, spec, l, report); err != nil {
			return err
		}
		done += l.Size
		report(0)
	}
	// With it the model is there, and not before.
	return e.cfg.Driver.PutFiles(ctx, containerID, []driver.File{{Path: manifestPath(model), Content: data, Mode: 0o644}})
}

// takeFile gives Ollama a file, which verifies it, unless it has it.
func (e *Engine) takeFile(ctx context.Context, c *api, spec engine.Spec, l layer, report func(bytes int64)) error {
	there, err := c.hasBlob(ctx, l.Digest)
	if err != nil || there {
		return err
	}
	file, err := e.cfg.Peers.File(ctx, spec.ReplicaID, l.Digest, report)
	if err != nil {
		return err
	}
	defer file.Release()
	content, err := file.Open()
	if err != nil {
		return fmt.Errorf("read what came from another node: %w", err)
	}
	defer content.Close()
	return c.putBlob(ctx, l.Digest, content, l.Size)
}
