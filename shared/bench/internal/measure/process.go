// Package measure is what the benchmarks of whole programs share: building and
// starting them, reading what they use, and printing figures beside floors.
package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one of the programs under measurement.
type Process struct {
	// GRPC and URL are where an orchestrator answers.
	GRPC, URL string

	cmd *exec.Cmd
}

// Build compiles packages, by the names of their programs, into dir. It must be
// called in the repository's root.
func Build(ctx context.Context, dir string, packages map[string]string) error {
	for name, pkg := range packages {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("run this from the repository's root; building %s: %w: %s", pkg, err, out)
		}
	}
	return nil
}

// Start starts a program. What it says on stderr is shown.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Process{cmd: cmd}, nil
}

// StartOrchestrator starts the one that was built in dir, on free ports and with
// a data directory of that name, and waits until it is ready. Further flags win
// over those that it is given here.
func StartOrchestrator(ctx context.Context, dir, name string, flags ...string) (*Process, error) {
	data := filepath.Join(dir, name)
	p, err := Start(exec.CommandContext(ctx, filepath.Join(dir, "orchestrator"), append([]string{
		"--port", "0", "--http-port", "0", "--data-dir", data, "--log-level", "error",
		// Simulated nodes beat when it suits the measurement.
		"--heartbeat-timeout", "10m",
	}, flags...)...))
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := p.readAddresses(ctx, filepath.Join(data, "orchestrator.json"))
		if err == nil {
			return p, nil
		}
		if time.Now().After(deadline) {
			p.Stop()
			return nil, fmt.Errorf("the orchestrator was not ready in time: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *Process) readAddresses(ctx context.Context, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var addresses struct {
		GRPCAddress string `json:"grpcAddress"`
		HTTPURL     string `json:"httpUrl"`
	}
	if err := json.Unmarshal(raw, &addresses); err != nil {
		return err
	}
	p.GRPC, p.URL = addresses.GRPCAddress, addresses.HTTPURL
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop asks it to end and waits.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = p.cmd.Wait()                          // how it ends is not measured
}

// Kill ends it at once and waits.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // how it ends is not measured
}

// ResidentBytes is what the process occupies now (Linux; elsewhere 0).
func (p *Process) ResidentBytes() int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// CPUTime is what the process has used so far, to the nanosecond: an idle program uses
// less in a minute than the ticks that /proc/PID/stat counts in (Linux; elsewhere 0).
// What threads used that have ended is not in it; Go keeps its threads.
func (p *Process) CPUTime() time.Duration {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var all time.Duration
	for _, file := range threads {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		onCPU, _, _ := strings.Cut(string(data), " ")
		ns, _ := strconv.ParseInt(onCPU, 10, 64)
		all += time.Duration(ns)
	}
	return all
}
