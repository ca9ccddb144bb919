package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// startedImage holds the program started.
const startedImage = "docker.io/orchion/started:bench"

// measureStarts compares a job's way to its first instruction with docker run.
func measureStarts(ctx context.Context, s settings, dir string) error {
	const what = "ms from submit to a container's first instruction"
	e, client, err := engineToStartOn(ctx, dir)
	if err != nil {
		return unmeasured(what, err)
	}
	defer e.Close()
	p, err := measure.StartOrchestrator(ctx, dir, "starts")
	if err != nil {
		return err
	}
	defer p.Stop()
	agent, err := startAgent(dir, "starts-agent", p, e)
	if err != nil {
		return err
	}
	defer agent.Stop()

	var ours, theirs []time.Duration
	for i := range s.starts + 3 {
		job, err := startJob(ctx, p.URL)
		if err != nil {
			return err
		}
		bare, err := startBare(ctx, client, e.Host)
		if err != nil {
			return err
		}
		if i >= 3 { // the first ones warm up
			ours, theirs = append(ours, job), append(theirs, bare)
		}
	}
	for _, p := range []float64{0.5, 0.99} {
		own, floor := milliseconds(percentile(ours, p)), milliseconds(percentile(theirs, p))
		measure.Row(fmt.Sprintf("%s, p%.0f, %s", what, p*100, e.Name), own, floor, "%.0f")
		measure.Fact("  more than "+e.Name+" run", fmt.Sprintf("%.0f", own-floor))
	}
	return nil
}

// noEngineError says why something cannot be measured on this machine.
type noEngineError string

func (e noEngineError) Error() string { return string(e) }

// engineToStartOn is the first engine that is there, with the image of the program
// started, and the engine's command. Errors: noEngineError.
func engineToStartOn(ctx context.Context, dir string) (e *engine.Engine, command string, err error) {
	engines := engine.Find(ctx)
	if len(engines) == 0 {
		return nil, "", noEngineError("no engine")
	}
	for _, other := range engines[1:] {
		_ = other.Close() // it was only asked
	}
	e = engines[0]
	if command, err = exec.LookPath(e.Name); err != nil {
		err = noEngineError("no " + e.Name + " command")
	} else {
		err = buildStarted(ctx, e, dir)
	}
	if err != nil {
		_ = e.Close() // nothing was done with it
		return nil, "", err
	}
	return e, command, nil
}

// unmeasured prints that there is no engine to measure something on, and answers
// every other error.
func unmeasured(what string, err error) error {
	if why, ok := errors.AsType[noEngineError](err); ok {
		measure.Fact(what, string(why))
		return nil
	}
	return err
}

// startAgent starts a node agent on an engine, by this name.
func startAgent(dir, name string, orchestrator *measure.Process, e *engine.Engine, flags ...string) (*measure.Process, error) {
	cmd := exec.Command(filepath.Join(dir, "node-agent"), append([]string{
		"--orchestrator", orchestrator.GRPC, "--node-id", name, "--hostname", name,
		"--data-dir", filepath.Join(dir, name), "--log-level", "error", "--adopt", "none",
	}, flags...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host)
	return measure.Start(cmd)
}

// buildStarted makes the image of the program started.
func buildStarted(ctx context.Context, e *engine.Engine, dir string) error {
	dockerfile := "FROM scratch\nCOPY program /program\nENTRYPOINT [\"/program\"]\n"
	_, err := e.Build(ctx, startedImage, dockerfile, []engine.File{{Name: "program", From: filepath.Join(dir, "started"), Mode: 0o755}}, os.Stderr)
	return err
}

// submitStarted submits the program started, for a node that meets the constraints.
func submitStarted(ctx context.Context, url string, constraints []string, args ...string) (*orchionv1.Job, error) {
	job := &orchionv1.Job{}
	return job, call(ctx, http.MethodPost, url+"/api/jobs", &orchionv1.SubmitJobRequest{
		Spec: &orchionv1.JobSpec{Constraints: constraints, Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{
			Image: startedImage, Args: args, PullPolicy: orchionv1.PullPolicy_PULL_POLICY_NEVER,
		}}},
	}, job)
}

// startJob submits a job and answers when its container began.
func startJob(ctx context.Context, url string, constraints ...string) (time.Duration, error) {
	began := time.Now()
	job, err := submitStarted(ctx, url, constraints)
	if err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if err := call(ctx, http.MethodGet, url+"/api/jobs/"+job.GetId(), nil, job); err != nil {
			return 0, err
		}
		switch {
		case job.GetState() == orchionv1.JobState_JOB_STATE_SUCCEEDED:
			return since(began, job.GetResult().GetOutput())
		case job.GetResult() != nil || time.Now().After(deadline):
			return 0, fmt.Errorf("job %s is %v: %s", job.GetId(), job.GetState(), job.GetReason())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startBare runs a container with the engine's own command.
func startBare(ctx context.Context, client, host string) (time.Duration, error) {
	began := time.Now()
	run := exec.CommandContext(ctx, client, "run", "--rm", startedImage)
	run.Env = append(os.Environ(), "DOCKER_HOST="+host, "CONTAINER_HOST="+host)
	if filepath.Base(client) == "podman" {
		run.Args = append([]string{client, "--remote"}, run.Args[1:]...)
	}
	out, err := run.Output()
	if err != nil {
		return 0, fmt.Errorf("%s run: %w", client, err)
	}
	return since(began, string(out))
}

// since reads when a container began.
func since(began time.Time, output string) (time.Duration, error) {
	at, err := strconv.ParseInt(strings.TrimSpace(output), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the container said %q: %w", output, err)
	}
	return time.Unix(0, at).Sub(began), nil
}
