// Command offline-ollama is the entry point of the offline Ollama image: it
// starts a model registry inside the container, and the real Ollama with that
// registry as its only way out, so that pulling "tiny" is a real pull with
// progress although no network is there.
//
// ORCHION_OFFLINE_RATE limits downloads, in bytes a second (default 512 KiB).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/orchion/orchion/shared/testbed/modelregistry"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

const (
	ollama      = "/bin/ollama"
	rateVar     = "ORCHION_OFFLINE_RATE"
	defaultRate = 512 << 10
)

func main() {
	code, err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "offline-ollama:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	rate := defaultRate
	if text := os.Getenv(rateVar); text != "" {
		if rate, err = strconv.Atoi(text); err != nil || rate < 1 {
			return 0, fmt.Errorf("%s=%s: want bytes a second, 1 or more", rateVar, text)
		}
	}
	models, err := offlinemodel.All()
	if err != nil {
		return 0, err
	}
	proxy, err := modelregistry.StartProxy(ctx, models, rate)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, proxy.Close()) }()
	trust := filepath.Join(os.TempDir(), "orchion-offline-registry.pem")
	if err := os.WriteFile(trust, proxy.Certificate(), 0o600); err != nil {
		return 0, fmt.Errorf("write the registry's certificate: %w", err)
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	cmd := exec.CommandContext(ctx, ollama, args...)
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+proxy.URL(), "SSL_CERT_FILE="+trust)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", ollama, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // it may have ended just now
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}
