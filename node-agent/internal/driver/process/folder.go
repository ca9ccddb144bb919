package process

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// errBroken says that a folder holds what this program does not write.
var errBroken = errors.New("its folder is damaged")

// spec is what is to be run, as it is kept.
type spec struct {
	ID         string            `json:"id"`
	Labels     map[string]string `json:"labels"`
	Command    []string          `json:"command"`              // the first is an absolute path
	Executable string            `json:"executable,omitempty"` // what is run, if not Command[0]
	Env        map[string]string `json:"env"`
	WorkDir    string            `json:"workDir"` // empty: one of its own
	LogBytes   int64             `json:"logBytes"`
	CreatedAt  time.Time         `json:"createdAt"`
}

// started says that the program runs, or has run.
type started struct {
	Supervisor int       `json:"supervisor"` // its process id
	StartedAt  time.Time `json:"startedAt"`
}

// exit says how it ended.
type exit struct {
	Code       int       `json:"code"`
	Error      string    `json:"error,omitempty"`   // why it could not be started
	NoFault    bool      `json:"noFault,omitempty"` // of its own, so that it was not
	FinishedAt time.Time `json:"finishedAt"`
}

// readSpec, readStarted and readEnd read a file of a process, and take nothing for it that
// could not have been written there.
func (d *Driver) readSpec(id string) (spec, error) {
	var s spec
	err := readJSON(d.path(id, specFile), &s)
	if err == nil && (s.ID != id || len(s.Command) == 0) {
		err = fmt.Errorf("%w: %s lacks its id or command", errBroken, specFile)
	}
	return s, err
}

// program is the file that is run.
func (s *spec) program() string { return cmp.Or(s.Executable, s.Command[0]) }

func (d *Driver) readStarted(id string) (started, error) {
	var begun started
	err := readJSON(d.path(id, startedFile), &begun)
	if err == nil && (begun.Supervisor <= 1 || begun.StartedAt.IsZero()) {
		err = fmt.Errorf("%w: %s names no supervisor", errBroken, startedFile)
	}
	return begun, err
}

func (d *Driver) readEnd(id string) (exit, error) {
	var end exit
	err := readJSON(d.path(id, exitFile), &end)
	if err == nil && end.FinishedAt.IsZero() {
		err = fmt.Errorf("%w: %s does not say when it ended", errBroken, exitFile)
	}
	return end, err
}

// tidyUp removes what was half made or half removed, and what is damaged and has no
// supervisor: nothing can be done with it. All else stays, above all what cannot be read now.
func (d *Driver) tidyUp() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("read the folder of processes: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue // none of ours
		}
		at := d.path(e.Name())
		if !strings.HasPrefix(e.Name(), ".") {
			damage := d.check(e.Name())
			if damage == nil {
				continue
			}
			if held, err := d.locked(e.Name()); held || err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.logger.Warn("leaving the damaged folder of a process that may run", "folder", at, "error", errors.Join(damage, err))
				continue
			}
			d.logger.Warn("removing the damaged folder of a process", "folder", at, "error", damage)
			killMarked(e.Name())
		}
		if err := removeAll(at); err != nil {
			d.logger.Warn("cannot remove what a process left; the next start of the agent tries again", "folder", at, "error", err)
		}
	}
	return nil
}

// check says what is damaged of a process. What cannot be read now is not.
func (d *Driver) check(id string) error {
	_, err := d.readSpec(id)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has no %s", errBroken, specFile)
	}
	if err == nil {
		_, err = d.readStarted(id)
	}
	if err == nil {
		_, err = d.readEnd(id)
	}
	if !errors.Is(err, errBroken) {
		return nil
	}
	return err
}

// removeAll removes a folder and also what is below folders that were made read-only, as
// caches of packages are.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(at, 0o700) //nolint:gosec // a folder, and soon gone; what that does not help with stays
		}
		return nil
	})
	return os.RemoveAll(path)
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %s: %w", errBroken, filepath.Base(path), err)
	}
	return nil
}

// writeJSON puts a file into place whole, and on the disk.
func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
