package docker

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Attach implements driver.Containers. ctx bounds the connecting only.
func (d *Driver) Attach(ctx context.Context, id string) (*driver.Attachment, error) {
	const op = "attach to container"
	if err := d.checkID(op, id); err != nil {
		return nil, err
	}
	// The engines disagree about what they answer for a container that is not there.
	resp, err := d.cli.ContainerInspect(ctx, id)
	if err != nil {
		return nil, d.fail(ctx, op, id, err)
	}
	stdin := resp.Config != nil && resp.Config.OpenStdin
	conn, err := d.cli.ContainerAttach(ctx, id, container.AttachOptions{
		Stream: true, Stdin: stdin, Stdout: true, Stderr: true,
	})
	if err != nil {
		return nil, d.fail(ctx, op, id, err)
	}

	return attachment(conn, stdin), nil
}

// Exec implements driver.Containers. ctx bounds the starting only.
func (d *Driver) Exec(ctx context.Context, id string, command []string) (*driver.Attachment, error) {
	const op = "run command in container"
	if err := driver.ValidateCommand(command); err != nil {
		return nil, d.invalid(op, id, err)
	}
	c, err := d.inspect(ctx, op, id)
	if err != nil {
		return nil, err
	}
	if c.State != driver.StateRunning {
		return nil, d.notRunning(op, id)
	}
	created, err := d.cli.ContainerExecCreate(ctx, c.ID, container.ExecOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: command,
	})
	if err != nil {
		return nil, d.fail(ctx, op, id, err)
	}
	conn, err := d.cli.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, d.fail(ctx, op, id, err)
	}
	return attachment(conn, true), nil
}

// attachment serves a hijacked connection until it is closed.
func attachment(conn types.HijackedResponse, stdin bool) *driver.Attachment {
	outR, outW := io.Pipe()
	errR, errW := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := demux(conn.Reader, outW, errW)
		outW.CloseWithError(err) // nil reads as io.EOF
		errW.CloseWithError(err)
	}()
	closeOnce := sync.OnceFunc(func() {
		conn.Close()
		// Lets go of the demultiplexer where nobody reads any more.
		outR.CloseWithError(io.ErrClosedPipe)
		errR.CloseWithError(io.ErrClosedPipe)
		<-done
	})
	var in io.WriteCloser
	if stdin {
		in = &stdinWriter{conn: conn}
	}
	return driver.NewAttachment(in, outR, errR, func() error { closeOnce(); return nil })
}

// demux copies until the container's output ends.
func demux(r io.Reader, stdout, stderr io.Writer) error {
	frames := newFrameReader(r)
	for {
		p, err := frames.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w := stdout
		if p.stream == driver.Stderr {
			w = stderr
		}
		if _, err := w.Write(p.data); err != nil {
			return err
		}
	}
}

// stdinWriter writes to the container; Close ends its half of the connection only.
type stdinWriter struct{ conn types.HijackedResponse }

func (s *stdinWriter) Write(p []byte) (int, error) { return s.conn.Conn.Write(p) }
func (s *stdinWriter) Close() error                { return s.conn.CloseWrite() }
