package worker

import (
	"errors"
	"fmt"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// failureError says what kind of failure an error is. The orchestrator decides by it
// whether the job is tried again, and where.
type failureError struct {
	class orchionv1.FailureClass
	err   error
}

func (e *failureError) Error() string { return e.err.Error() }
func (e *failureError) Unwrap() error { return e.err }

// classed makes an error of a class.
func classed(class orchionv1.FailureClass, format string, args ...any) error {
	return &failureError{class: class, err: fmt.Errorf(format, args...)}
}

// classify gives the class of an error: its own, or that of what the container engine
// said, or otherwise.
func classify(err error, otherwise orchionv1.FailureClass) orchionv1.FailureClass {
	var known *failureError
	if errors.As(err, &known) {
		return known.class
	}
	switch driver.CodeOf(err) {
	case driver.CodeInvalid:
		return orchionv1.FailureClass_FAILURE_CLASS_INVALID
	case driver.CodeImageNotFound, driver.CodeImageDenied:
		return orchionv1.FailureClass_FAILURE_CLASS_IMAGE
	case driver.CodeRegistryUnavailable:
		return orchionv1.FailureClass_FAILURE_CLASS_IMAGE_UNAVAILABLE
	case driver.CodeUnavailable, driver.CodeTimeout, driver.CodeDenied:
		return orchionv1.FailureClass_FAILURE_CLASS_ENGINE
	case driver.CodeNoSpace, driver.CodeMachine, driver.CodeUnsupported:
		return orchionv1.FailureClass_FAILURE_CLASS_NODE
	}
	return otherwise
}
