package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// hostile leaves a folder of what is not to be taken for files: links out of it, and into
// it, pipes, sockets, names of all kinds.
func hostile(dir string) error {
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, mode os.FileMode) error {
		return errors.Join(os.WriteFile(at(name), []byte(name), 0o600), os.Chmod(at(name), mode))
	}
	return errors.Join(
		os.MkdirAll(at("closed"), 0o700),
		write("closed/file", 0),
		os.Chmod(at("closed"), 0),
		write("plain", 0o640),
		write("setuid", 0o755|os.ModeSetuid),
		write("line\nbreak", 0o600),
		write("not\xffutf8", 0o600),
		write("..dots", 0o600),
		write("..."+strings.Repeat("x", 250), 0o600),
		os.Link(at("plain"), at("same")),
		os.Symlink("/proc/self/environ", at("absolute")),
		os.Symlink("../../../etc/passwd", at("leaves")),
		os.Symlink("plain", at("stays")),
		os.Symlink(".", at("circle")),
		os.Symlink("/nowhere", at("dangling")),
		special(at("pipe"), at("socket")),
	)
}

func many(dir, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", i)), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func sparse(name, bytes string) error {
	n, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(name, n)
}
