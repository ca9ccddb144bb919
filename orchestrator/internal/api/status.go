package api

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// errShuttingDown is the cause with which the server's own context ends.
var errShuttingDown = fault.New(fault.Unavailable, "the orchestrator is shutting down; try again in a moment")

// statusOf gives the gRPC status of an error: the one place where codes are
// mapped. unexpected is true for errors that nobody has thought about: their
// text is for the log and not for the caller.
func statusOf(err error) (s *status.Status, unexpected bool) {
	var f *fault.Error
	if errors.As(err, &f) && f.Code != fault.Internal {
		s := status.New(grpcCode(f.Code), f.Public())
		if f.Field != "" {
			s = withDetail(s, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: f.Field, Description: f.Message},
			}})
		}
		return s, false
	}
	switch {
	case errors.Is(err, events.ErrClosed):
		return status.New(codes.Unavailable, errShuttingDown.Message), false
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the call was cancelled"), false
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "the call took longer than its deadline"), false
	}
	// gRPC's own errors come from streams: they are fit for the caller.
	if own, ok := status.FromError(err); ok {
		return own, own.Code() == codes.Internal || own.Code() == codes.Unknown
	}
	return status.New(codes.Internal, "internal error; the orchestrator's log says more"), true
}

func grpcCode(c fault.Code) codes.Code {
	switch c {
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.NotFound:
		return codes.NotFound
	case fault.AlreadyExists:
		return codes.AlreadyExists
	case fault.Precondition:
		return codes.FailedPrecondition
	case fault.Exhausted:
		return codes.ResourceExhausted
	case fault.Superseded:
		return codes.Aborted
	case fault.Unavailable:
		return codes.Unavailable
	default:
		return codes.Internal
	}
}

// withDetail adds a detail; a status that cannot carry one stays as it is.
func withDetail(s *status.Status, detail protoadapt.MessageV1) *status.Status {
	if with, err := s.WithDetails(detail); err == nil {
		return with
	}
	return s
}
