package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

const (
	// lockFile is locked while an agent uses the directory. It stays: removing it would
	// let two agents lock two files of one name.
	lockFile = "node-agent.lock"
	// idFile holds the node's id.
	idFile = "node-id"
	// blobsFolder holds the input files of jobs for a little while.
	blobsFolder = "blobs"
	// modelsFolder holds files of models on their way from another node.
	modelsFolder = "models"
)

// errLocked is what the platform's lock answers when another process has it.
var errLocked = errors.New("held by another process")

// dataDir is a data directory that this process has for itself.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the directory if need be and keeps other agents off it.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory (--data-dir): %w", err)
	}
	file, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory (--data-dir): %w", err)
	}
	if err := lock(file); err != nil {
		file.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("the data directory %s is in use by another node agent; stop that one, or give this one a directory of its own with --data-dir", path)
		}
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return &dataDir{path: path, lock: file}, nil
}

// close lets other agents have the directory.
func (d *dataDir) close() { d.lock.Close() }

// nodeID gives the node's id: the one wished for, which is kept, or the one kept, or a new
// one.
func (d *dataDir) nodeID(wish string) (string, error) {
	path := filepath.Join(d.path, idFile)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read this node's id: %w", err)
	}
	kept := strings.TrimSpace(string(data))
	switch {
	case wish == "" && kept != "":
		if len(kept) > maxNodeID || !nodeIDPattern.MatchString(kept) {
			return "", fmt.Errorf("%s holds %q, which is no node id; remove the file for a new id, or name one with --node-id", path, kept)
		}
		return kept, nil
	case wish == kept && kept != "":
		return kept, nil
	}
	id := wish
	if id == "" {
		id = uuid.NewString()
	}
	// Renamed into place, so that a crash leaves the old id or the new one.
	if err := os.WriteFile(path+".new", []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep this node's id: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return "", fmt.Errorf("keep this node's id: %w", err)
	}
	return id, nil
}
