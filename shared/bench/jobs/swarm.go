package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// atATime is how many containers run at once, of ours and of Swarm's.
const atATime = 8

// measureSwarm runs the same containers, one for each job, on one Docker engine as
// an array of ours and as a replicated job of Docker Swarm, until all have ended. Ours are
// removed meanwhile, one by one; Swarm keeps its own for later.
func measureSwarm(ctx context.Context, s settings, dir string) error {
	what := fmt.Sprintf("containers/s, %d jobs, %d at a time; Docker Swarm", s.containers, atATime)
	e, docker, err := dockerEngine(ctx)
	if err != nil {
		measure.Fact(what, err.Error())
		return nil
	}
	defer e.Close()
	w := swarm{docker: docker, engine: e}
	leave, err := w.join(ctx, s.swarm)
	if err != nil {
		measure.Fact(what, err.Error())
		return nil
	}
	defer leave()
	if err := buildStarted(ctx, e, dir); err != nil {
		return err
	}
	ours, err := runArray(ctx, s, dir, e)
	if err != nil {
		return err
	}
	theirs, err := w.run(ctx, s.containers)
	if err != nil {
		return err
	}
	n := float64(s.containers)
	measure.Row(what, n/ours.Seconds(), n/theirs.Seconds(), "%.2f")
	return nil
}

// dockerEngine is a Docker that is there, with its command.
func dockerEngine(ctx context.Context) (e *engine.Engine, command string, err error) {
	if command, err = exec.LookPath("docker"); err != nil {
		return nil, "", errors.New("no docker command")
	}
	for _, found := range engine.Find(ctx) {
		if found.Name == "docker" && e == nil {
			e = found
			continue
		}
		_ = found.Close() // it was only asked
	}
	if e == nil {
		return nil, "", errors.New("no Docker")
	}
	return e, command, nil
}

// runArray runs the jobs on a node agent and answers how long all took.
func runArray(ctx context.Context, s settings, dir string, e *engine.Engine) (time.Duration, error) {
	p, err := measure.StartOrchestrator(ctx, dir, "array")
	if err != nil {
		return 0, err
	}
	defer p.Stop()
	agent, err := startAgent(dir, "array-agent", p, e, "--max-jobs", strconv.Itoa(atATime))
	if err != nil {
		return 0, err
	}
	defer agent.Stop()
	if _, err := startJob(ctx, p.URL); err != nil { // the node is there, and warm
		return 0, err
	}
	count := int32(s.containers)
	began := time.Now()
	job := &orchionv1.Job{}
	request := &orchionv1.SubmitJobRequest{Count: &count, Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{
		Image: startedImage, PullPolicy: orchionv1.PullPolicy_PULL_POLICY_NEVER,
	}}}}
	if err := call(ctx, http.MethodPost, p.URL+"/api/jobs", request, job); err != nil {
		return 0, err
	}
	err = until(ctx, func() (bool, error) {
		list := &orchionv1.ListJobsResponse{}
		err := call(ctx, http.MethodGet, p.URL+"/api/jobs?state=JOB_STATE_SUCCEEDED&pageSize=1000&arrayId="+job.GetArrayId(), nil, list)
		return len(list.GetJobs()) == s.containers, err
	})
	return time.Since(began), err
}

// until asks until it is so.
func until(ctx context.Context, so func() (bool, error)) error {
	for deadline := time.Now().Add(5 * time.Minute); ; {
		switch is, err := so(); {
		case err != nil || is:
			return err
		case time.Now().After(deadline):
			return errors.New("the jobs do not end")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// swarm is Docker Swarm, as its command has it.
type swarm struct {
	docker string
	engine *engine.Engine
}

func (w swarm) call(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.docker, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+w.engine.Host)
	out, err := cmd.Output()
	var status *exec.ExitError
	if errors.As(err, &status) {
		err = fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(status.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// join makes the engine a Swarm of its own, when it is none and may be one. The
// answer undoes that.
func (w swarm) join(ctx context.Context, may bool) (leave func(), err error) {
	state, err := w.call(ctx, "info", "--format", "{{.Swarm.LocalNodeState}}")
	switch {
	case err != nil:
		return nil, err
	case state == "active":
		return func() {}, nil
	case !may:
		return nil, errors.New("not a Swarm; --swarm makes it one meanwhile")
	}
	if _, err := w.call(ctx, "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1"); err != nil {
		return nil, err
	}
	return func() {
		if _, err := w.call(context.WithoutCancel(ctx), "swarm", "leave", "--force"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}, nil
}

// run runs a replicated job and answers how long it took.
func (w swarm) run(ctx context.Context, containers int) (time.Duration, error) {
	create := func(name string, n int) (time.Duration, error) {
		began := time.Now()
		if _, err := w.call(ctx, "service", "create", "--detach", "--quiet", "--no-resolve-image", "--restart-condition", "none",
			"--mode", "replicated-job", "--replicas", strconv.Itoa(n), "--max-concurrent", strconv.Itoa(min(n, atATime)),
			"--name", name, startedImage); err != nil {
			return 0, err
		}
		err := until(ctx, func() (bool, error) {
			replicas, err := w.call(ctx, "service", "ls", "--filter", "name="+name, "--format", "{{.Replicas}}")
			// As "0/8 (30/30 completed)".
			return strings.Contains(replicas, fmt.Sprintf("(%d/%d ", n, n)), err
		})
		took := time.Since(began)
		_, gone := w.call(context.WithoutCancel(ctx), "service", "rm", name)
		left := w.engine.RemoveContainers(context.WithoutCancel(ctx), "com.docker.swarm.service.name="+name)
		return took, errors.Join(err, gone, left)
	}
	if _, err := create("orchion-bench-warm", 1); err != nil {
		return 0, err
	}
	return create("orchion-bench", containers)
}
