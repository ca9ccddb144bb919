// Package fault is the vocabulary of errors between the orchestrator's
// packages: a few codes with a message that a caller may see, apart from the
// cause. The api package alone maps codes to gRPC and HTTP statuses.
package fault

import (
	"errors"
	"fmt"
)

// Code says what kind of error it is, as far as a caller can act on it.
type Code int

// The codes. Internal is the zero value: an error nobody has thought about.
const (
	Internal Code = iota
	// Invalid: the request is wrong whatever the state of the system.
	Invalid
	// NotFound: what the request names does not exist.
	NotFound
	// AlreadyExists: what the request would make exists and differs.
	AlreadyExists
	// Precondition: the request does not go with the state it met.
	Precondition
	// Exhausted: a limit is reached.
	Exhausted
	// Superseded: another has taken the caller's place; it must stop.
	Superseded
	// Unavailable: it may go through later.
	Unavailable
)

// Error is an error with a code and a message for the caller.
type Error struct {
	Code Code
	// Field names the request's field that is at fault, as its JSON path;
	// only with Invalid.
	Field string
	// Message is for the caller: no internals in it.
	Message string
	// Cause is for the log. May be nil.
	Cause error
}

// Error gives the message with the field and the cause.
func (e *Error) Error() string {
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Public gives what the caller may see: the field and the message.
func (e *Error) Public() string {
	if e.Field != "" {
		return e.Field + ": " + e.Message
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Temporary says whether the same request may go through later.
func (e *Error) Temporary() bool { return e.Code == Unavailable || e.Code == Exhausted }

// New makes an error of a code.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// BadField makes an Invalid error that names the field.
func BadField(field, format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Wrap gives a cause a code and a message.
func Wrap(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// CodeOf gives the code of the first Error in err's chain; Internal when there
// is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
