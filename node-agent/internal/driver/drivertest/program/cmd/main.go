// Command cmd is the driver tests' program as a binary.
package main

import (
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program"
)

func main() {
	h := &host{term: make(chan struct{})}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		close(h.term)
	}()
	os.Exit(program.Run(h))
}

// host is a real process.
type host struct {
	term   chan struct{}
	memory [][]byte
}

func (h *host) Context() context.Context   { return context.Background() }
func (h *host) Args() []string             { return os.Args[1:] }
func (h *host) Getenv(name string) string  { return os.Getenv(name) }
func (h *host) Stdin() io.Reader           { return os.Stdin }
func (h *host) Stdout() io.Writer          { return os.Stdout }
func (h *host) Stderr() io.Writer          { return os.Stderr }
func (h *host) Terminate() <-chan struct{} { return h.term }

func (h *host) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

func (h *host) WriteFile(name string, content []byte, mode fs.FileMode) error {
	return os.WriteFile(name, content, mode)
}

func (h *host) Allocate(bytes int64) {
	const chunk = 1 << 20
	for range bytes / chunk {
		m := make([]byte, chunk)
		for i := range m {
			m[i] = byte(i) // touched, so that it is really there
		}
		h.memory = append(h.memory, m)
	}
}

func (h *host) Listen(port uint16) (net.Listener, error) {
	return net.Listen("tcp", ":"+strconv.Itoa(int(port)))
}
