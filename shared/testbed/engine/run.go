package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Run runs an image's program to its end without a network and returns its exit
// code and all it said, standard output first. The container is removed.
func (e *Engine) Run(ctx context.Context, image string, args ...string) (code int, output string, err error) {
	created, err := e.api.ContainerCreate(ctx, &container.Config{Image: image, Cmd: args},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		return 0, "", fmt.Errorf("run %s in %s: %w", image, e.Name, err)
	}
	defer func() {
		removed := e.api.ContainerRemove(context.WithoutCancel(ctx), created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		err = errors.Join(err, removed)
	}()
	if err := e.api.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		return 0, "", fmt.Errorf("run %s in %s: %w", image, e.Name, err)
	}
	ended, failed := e.api.ContainerWait(ctx, created.ID, container.WaitConditionNotRunning)
	select {
	case result := <-ended:
		code = int(result.StatusCode)
	case err := <-failed:
		return 0, "", fmt.Errorf("run %s in %s: wait for its end: %w", image, e.Name, err)
	}
	logs, err := e.api.ContainerLogs(ctx, created.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return code, "", fmt.Errorf("run %s in %s: read its output: %w", image, e.Name, err)
	}
	defer logs.Close()
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, logs); err != nil {
		return code, "", fmt.Errorf("run %s in %s: read its output: %w", image, e.Name, err)
	}
	return code, stdout.String() + stderr.String(), nil
}
