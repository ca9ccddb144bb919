package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// asStopped gives the outcome of a job that was asked to stop; false when it was not.
func (a *attempt) asStopped() (outcome, bool) {
	var request *stopError
	if !errors.As(context.Cause(a.work), &request) {
		return outcome{}, false
	}
	return outcome{state: request.state, class: request.class, reason: request.reason, finishedAt: time.Now()}, true
}

// notStarted is the outcome of an attempt that err kept from running.
func (a *attempt) notStarted(err error) outcome {
	end, stopped := a.asStopped()
	if !stopped {
		return failed(err, orchionv1.FailureClass_FAILURE_CLASS_START)
	}
	if end.reason == "" {
		end.reason = "before it was started"
	}
	return end
}

// judge gives the outcome of a container that has ended, or that err keeps us from
// knowing more about.
func (a *attempt) judge(spec *orchionv1.JobSpec, exit driver.Exit, err error) outcome {
	if err != nil {
		if driver.CodeOf(err) == driver.CodeNotFound {
			err = fmt.Errorf("the %s was removed by someone else while it ran", noun(spec))
		}
		// It ran; what became of it only the engine could have said.
		return failed(err, orchionv1.FailureClass_FAILURE_CLASS_ENGINE)
	}
	end := outcome{finishedAt: exit.FinishedAt}
	if end.finishedAt.IsZero() {
		end.finishedAt = time.Now()
	}
	code := int32(exit.Code)
	end.exitCode = &code
	if stopped, ok := a.asStopped(); ok {
		end.state, end.class, end.reason = stopped.state, stopped.class, stopped.reason
		if end.reason == "" {
			end.reason = fmt.Sprintf("its %s ended with exit code %d", noun(spec), exit.Code)
		}
		return end
	}
	end.state = orchionv1.AttemptState_ATTEMPT_STATE_FAILED
	switch {
	case exit.OOMKilled, exit.MaybeOOM:
		end.class = orchionv1.FailureClass_FAILURE_CLASS_OUT_OF_MEMORY
		end.reason = "killed for using more memory than it may: raise resources.memoryBytes"
		if limit := spec.GetResources().GetMemoryBytes(); limit > 0 {
			end.reason = fmt.Sprintf("killed for using more memory than its limit of %d bytes: raise resources.memoryBytes", limit)
		}
	case exit.Error != "":
		end.class = orchionv1.FailureClass_FAILURE_CLASS_START
		if exit.NoFault {
			end.class = orchionv1.FailureClass_FAILURE_CLASS_NODE
		}
		end.reason = fmt.Sprintf("the %s could not be run: %s", noun(spec), exit.Error)
	case exit.Code != 0:
		end.class = orchionv1.FailureClass_FAILURE_CLASS_EXIT_CODE
		end.reason = fmt.Sprintf("the %s ended with exit code %d", noun(spec), exit.Code)
	default:
		end.state = orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	}
	return end
}
