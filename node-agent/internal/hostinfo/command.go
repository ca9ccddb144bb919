package hostinfo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

const (
	// commandTimeout bounds a vendor's tool: with a wedged driver nvidia-smi
	// hangs for minutes.
	commandTimeout = 10 * time.Second
	// commandOutputLimit is far above what any of them prints.
	commandOutputLimit = 1 << 20
)

// runCommand answers what a program prints. The arguments are constants of
// this package.
func runCommand(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdout = &limitedWriter{w: &out, left: commandOutputLimit}
	cmd.Stderr = &limitedWriter{w: &stderr, left: 4096}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s did not answer within %v", name, commandTimeout)
		}
		// nvidia-smi says what is wrong on stdout.
		said := strings.TrimSpace(firstLine(stderr.String()) + " " + firstLine(out.String()))
		return nil, fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return out.Bytes(), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

var errOutputTooLong = errors.New("printed more than expected")

// limitedWriter fails past its limit.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errOutputTooLong
	}
	l.left -= len(p)
	return l.w.Write(p)
}
