package driver

import (
	"errors"
	"strings"
)

// Code sorts the errors of a driver by what a caller can do about them.
type Code string

// The codes of errors.
const (
	// CodeInvalid: the request is wrong and will stay so; the message names the field.
	CodeInvalid Code = "invalid"
	// CodeNotFound: no such container or volume.
	CodeNotFound Code = "not_found"
	// CodeNoFile: no such file or folder in the container.
	CodeNoFile Code = "no_file"
	// CodeImageNotFound: the image is not on the machine (and may not be pulled), or the
	// registry has no such image.
	CodeImageNotFound Code = "image_not_found"
	// CodeImageDenied: the registry does not give us the image.
	CodeImageDenied Code = "image_denied"
	// CodeConflict: the state of things forbids it, such as a name in use or a volume in use.
	CodeConflict Code = "conflict"
	// CodeDenied: the engine, or its socket, refuses us.
	CodeDenied Code = "denied"
	// CodeUnavailable: the engine cannot be reached now.
	CodeUnavailable Code = "unavailable"
	// CodeRegistryUnavailable: the registry cannot be reached now, or gives nothing now.
	CodeRegistryUnavailable Code = "registry_unavailable"
	// CodeTimeout: the engine takes calls and does not answer them; see Impatient.
	CodeTimeout Code = "timeout"
	// CodeNoSpace: there is no space left where the engine keeps what it needs.
	CodeNoSpace Code = "no_space"
	// CodeMachine: the machine cannot do it now, for want of processes or memory or by a fault
	// of its own. Another may.
	CodeMachine Code = "machine"
	// CodeUnsupported: this engine cannot do it.
	CodeUnsupported Code = "unsupported"
	// CodeInternal: the engine failed in a way we know no better word for.
	CodeInternal Code = "internal"
)

// Error is what a driver returns for a request that failed.
type Error struct {
	Code    Code
	Engine  string // name of the engine, such as "docker"
	Op      string // what was tried, such as "create container"
	Subject string // the image, container or volume it was tried on
	Hint    string // what to do about it, as an imperative; may be empty
	Err     error  // the cause; never nil
}

// Error reads as "docker: pull image alpine: CAUSE; HINT".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Engine != "" {
		b.WriteString(e.Engine + ": ")
	}
	b.WriteString(e.Op)
	if e.Subject != "" {
		b.WriteString(" " + e.Subject)
	}
	b.WriteString(": " + e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary says whether the same call may succeed later with nothing changed by us.
func (e *Error) Temporary() bool {
	return e.Code == CodeUnavailable || e.Code == CodeRegistryUnavailable || e.Code == CodeTimeout
}

// CodeOf gives the code of the [*Error] in err's chain: "" when err is nil, CodeInternal
// when there is none.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// ErrOvertaken ends the reading of a log of which a part was removed before it was read: what
// is left of it begins later by now.
var ErrOvertaken = errors.New("a part of the log was removed before it was read")
