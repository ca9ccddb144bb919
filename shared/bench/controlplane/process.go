package main

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

// process is one of the programs under measurement.
type process struct {
	cmd       *exec.Cmd
	grpc, url string
}

// startOrchestrator starts one on free ports and waits until it is ready.
func startOrchestrator(ctx context.Context, dir, name string) (*process, error) {
	data := filepath.Join(dir, name)
	p := &process{cmd: exec.CommandContext(ctx, filepath.Join(dir, "orchestrator"),
		"--port", "0", "--http-port", "0", "--data-dir", data, "--log-level", "error",
		// Simulated nodes beat when it suits the measurement.
		"--heartbeat-timeout", "10m")}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := p.readAddresses(ctx, filepath.Join(data, "orchestrator.json"))
		if err == nil {
			return p, nil
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("the orchestrator was not ready in time: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *process) readAddresses(ctx context.Context, file string) error {
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
	p.grpc, p.url = addresses.GRPCAddress, addresses.HTTPURL
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz", nil)
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

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = p.cmd.Wait()                          // how it ends is not measured
}

// residentBytes is what the process occupies now (Linux; elsewhere 0).
func (p *process) residentBytes() int64 {
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

// cpuTime is what the process has used so far (Linux; elsewhere 0).
func (p *process) cpuTime() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The name in brackets may hold spaces.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	const utime, stime, ticksPerSecond = 11, 12, 100 // proc(5), counted behind the name
	user, _ := strconv.ParseInt(fields[utime], 10, 64)
	system, _ := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}
