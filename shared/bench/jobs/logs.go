package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchion/orchion/shared/bench/internal/measure"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// beat is how often the node whose job floods its log says that it is there.
const beat = time.Second

// measureLogs has a job print without a pause, once to a log that keeps all of
// it, and sees how fast it can print, beside a bare container, how fast it is
// all with the orchestrator, and what that does to memory and heartbeats.
func measureLogs(ctx context.Context, s settings, dir string) error {
	what := fmt.Sprintf("MB/s that a job prints, %d MB", s.flood/1e6)
	e, client, err := engineToStartOn(ctx, dir)
	if err != nil {
		return unmeasured(what, err)
	}
	defer e.Close()
	room := strconv.FormatInt(4*s.flood, 10)
	p, err := measure.StartOrchestrator(ctx, dir, "logs", "--job-log-max-bytes", room, "--log-max-bytes", room)
	if err != nil {
		return err
	}
	defer p.Stop()
	agent, err := startAgent(dir, "logs-agent", p, e, "--heartbeat-interval", beat.String(), "--log-rate", "0", "--log-buffer", room)
	if err != nil {
		return err
	}
	defer agent.Stop()

	job, err := submitStarted(ctx, p.URL, nil, "flood", strconv.FormatInt(s.flood, 10))
	if err != nil {
		return err
	}
	var most extremes
	err = until(ctx, func() (bool, error) {
		if err := call(ctx, http.MethodGet, p.URL+"/api/jobs/"+job.GetId(), nil, job); err != nil || len(job.GetAttempts()) == 0 {
			return false, err
		}
		if job.GetResult() != nil && job.GetState() != orchionv1.JobState_JOB_STATE_SUCCEEDED {
			return false, fmt.Errorf("the job is %v: %s", job.GetState(), job.GetReason())
		}
		most.orchestrator, most.agent = max(most.orchestrator, p.ResidentBytes()), max(most.agent, agent.ResidentBytes())
		node := &orchionv1.Node{}
		err := call(ctx, http.MethodGet, p.URL+"/api/nodes/"+job.GetAttempts()[0].GetNodeId(), nil, node)
		most.silence = max(most.silence, time.Since(node.GetLastHeartbeatAt().AsTime()))
		return job.GetResult() != nil, err
	})
	if err != nil {
		return err
	}
	arrived := job.GetFinishedAt().AsTime().Sub(job.GetStartedAt().AsTime())
	kept, printed, err := readFlood(ctx, p.URL+"/api/jobs/"+job.GetId()+"/logs")
	if err != nil {
		return err
	}
	bare, err := floodBare(ctx, client, e.Host, s.flood)
	if err != nil {
		return err
	}
	rate := func(bytes int64, d time.Duration) float64 { return float64(bytes) / 1e6 / d.Seconds() }
	measure.Row(what, rate(s.flood, printed), rate(s.flood, bare), "%.0f")
	measure.Row("  until all that is kept is with the orchestrator", rate(kept, arrived), rate(s.flood, bare), "%.0f")
	measure.Fact("  of them kept", fmt.Sprintf("%.1f %%", 100*float64(kept)/float64(s.flood)))
	measure.Fact("  most memory of the orchestrator meanwhile", fmt.Sprintf("%d MiB", most.orchestrator>>20))
	measure.Fact("  most memory of the node agent meanwhile", fmt.Sprintf("%d MiB", most.agent>>20))
	measure.Fact("  longest without a heartbeat, of one each second", fmt.Sprintf("%.1f s", most.silence.Seconds()))
	return nil
}

// extremes are the largest of what was seen.
type extremes struct {
	orchestrator, agent int64
	silence             time.Duration
}

// readFlood reads a log: how many bytes of the flood it keeps, and how long the
// flood says that it took.
func readFlood(ctx context.Context, url string) (kept int64, took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	return countFlood(response.Body)
}

func countFlood(r io.Reader) (kept int64, took time.Duration, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "xxxx") {
			kept += int64(len(line)) + 1
			continue
		}
		if n, err := strconv.ParseInt(line, 10, 64); err == nil {
			took = time.Duration(n)
		}
	}
	if took == 0 && lines.Err() == nil {
		return 0, 0, errors.New("the flood does not say how long it took")
	}
	return kept, took, lines.Err()
}

// floodBare is how long the flood takes in a container that the engine's own
// command runs in the background, as it keeps logs by itself.
func floodBare(ctx context.Context, client, host string, size int64) (took time.Duration, err error) {
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, client, args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+host, "CONTAINER_HOST="+host)
		if filepath.Base(client) == "podman" {
			cmd.Args = append([]string{client, "--remote"}, args...)
		}
		return cmd
	}
	id, err := command("run", "--detach", startedImage, "flood", strconv.FormatInt(size, 10)).Output()
	if err != nil {
		return 0, fmt.Errorf("%s run: %w", client, err)
	}
	name := strings.TrimSpace(string(id))
	defer func() { err = errors.Join(err, command("rm", "--force", name).Run()) }()
	if err := command("wait", name).Run(); err != nil {
		return 0, fmt.Errorf("%s wait: %w", client, err)
	}
	r, w := io.Pipe()
	logs := command("logs", "--tail", "1", name)
	logs.Stdout = w
	var reading errgroup.Group
	reading.Go(func() (err error) {
		_, took, err = countFlood(r)
		return err
	})
	err = logs.Run()
	return took, errors.Join(err, w.Close(), reading.Wait())
}
