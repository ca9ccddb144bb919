package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// fail turns an error of the client into one of ours. It is the only place that knows the
// client's errors. The context's own end is passed on, for the caller to recognise.
func (d *Driver) fail(ctx context.Context, op, subject string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %s %s: %w", d.name, op, subject, ended)
	}
	e := &driver.Error{Engine: d.name, Op: op, Subject: subject, Err: err, Code: driver.CodeInternal}
	switch {
	case isPermission(err):
		e.Code = driver.CodeDenied
		e.Hint = "add this user to the group that owns the socket, or use a rootless engine"
	case client.IsErrConnectionFailed(err), connectionLost(err):
		e.Code = driver.CodeUnavailable
		e.Hint = "check that the engine at " + d.endpoint + " runs"
	case noSpace(err.Error()):
		e.Code = driver.CodeNoSpace
		e.Hint = hintNoSpace
	case errdefs.IsNotFound(err):
		e.Code = driver.CodeNotFound
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err), errdefs.IsFailedPrecondition(err):
		e.Code = driver.CodeConflict
	case errdefs.IsInvalidArgument(err):
		e.Code = driver.CodeInvalid
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
		e.Code = driver.CodeDenied
	case errdefs.IsUnavailable(err), errdefs.IsDeadlineExceeded(err):
		e.Code = driver.CodeUnavailable
	case errdefs.IsNotImplemented(err):
		e.Code = driver.CodeUnsupported
	}
	return e
}

func (d *Driver) invalid(op, subject string, err error) error {
	return &driver.Error{Code: driver.CodeInvalid, Engine: d.name, Op: op, Subject: subject, Err: err}
}

// checkID guards every call that takes an id.
func (d *Driver) checkID(op, id string) error {
	if err := driver.ValidateID(id); err != nil {
		return d.invalid(op, "", err)
	}
	return nil
}

const hintNoSpace = "free disk space where the engine keeps its images and containers"

// noSpace recognises a full disk. The engines tell by text alone, in the words of the
// operating system.
func noSpace(text string) bool {
	return strings.Contains(strings.ToLower(text), "no space left on device")
}

// connectionLost says whether the engine went away in the middle of an answer.
func connectionLost(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &netErr)
}

// pullFailure sorts what a pull's stream says went wrong. The engines tell that by text
// alone, and so this is the one place that reads it.
func (d *Driver) pullFailure(ref, message string) error {
	e := &driver.Error{
		Engine: d.name, Op: "pull image", Subject: ref,
		Err: errors.New(message), Code: driver.CodeInternal,
	}
	text := strings.ToLower(message)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case noSpace(text):
		e.Code = driver.CodeNoSpace
		e.Hint = hintNoSpace
	case has("toomanyrequests", "too many requests"):
		e.Code = driver.CodeRegistryUnavailable
		e.Hint = "the registry limits how often one may pull: wait, or log in"
	case has("manifest unknown", "not found", "name unknown", "does not exist", "no matching manifest", "no image found"):
		e.Code = driver.CodeImageNotFound
		e.Hint = "check its name and tag, and that it is public or built on this machine"
	case has("unauthorized", "denied", "authentication required", "forbidden", "no basic auth credentials", "invalid username/password"):
		e.Code = driver.CodeImageDenied
		e.Hint = "check its name; for a private image name credentials of the node in registryCredentials, or pull it on this machine first"
	case has("no such host", "connection refused", "timeout", "timed out", "network is unreachable",
		"no route to host", "eof", "connection reset", "temporary failure", "server misbehaving",
		"bad gateway", "service unavailable", "internal server error", "tls handshake", "i/o"):
		e.Code = driver.CodeRegistryUnavailable
		e.Hint = "check that this machine reaches the registry"
	}
	return e
}
