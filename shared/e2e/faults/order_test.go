//go:build unix

package main

import (
	"testing"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestOneOrder(t *testing.T) {
	const (
		queued    = orchionv1.JobState_JOB_STATE_QUEUED
		assigned  = orchionv1.JobState_JOB_STATE_ASSIGNED
		running   = orchionv1.JobState_JOB_STATE_RUNNING
		succeeded = orchionv1.JobState_JOB_STATE_SUCCEEDED
		failed    = orchionv1.JobState_JOB_STATE_FAILED
	)
	type told struct {
		kind requestKind
		v    view
	}
	for name, tt := range map[string]struct {
		told []told
		good bool
	}{
		"all of a life": {[]told{
			{submitted, view{state: queued}},
			{looked, view{state: assigned, attempts: 1}},
			{looked, view{state: running, attempts: 1}},
			{looked, view{state: queued, attempts: 1}},
			{looked, view{state: running, attempts: 2}},
			{looked, view{state: succeeded, attempts: 2}},
			{looked, view{state: succeeded, attempts: 2}},
			{cancelled, view{refused: true}},
		}, true},
		"back to an earlier attempt": {[]told{
			{submitted, view{state: queued}}, {looked, view{state: running, attempts: 2}}, {looked, view{state: running, attempts: 1}},
		}, false},
		"back to the queue without an attempt": {[]told{
			{submitted, view{state: queued}}, {looked, view{state: running, attempts: 1}}, {looked, view{state: queued}},
		}, false},
		"two ends": {[]told{
			{submitted, view{state: queued}}, {looked, view{state: succeeded, attempts: 1}}, {looked, view{state: failed, attempts: 1}},
		}, false},
		"tried again though cancelled": {[]told{
			{submitted, view{state: queued}}, {cancelled, view{state: running, attempts: 1}}, {looked, view{state: running, attempts: 2}},
		}, false},
		"seen before it was submitted": {[]told{{looked, view{state: queued}}, {submitted, view{state: queued}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			for _, told := range tt.told {
				h.did(1, request{kind: told.kind, id: "j"}, time.Now(), told.v)
				time.Sleep(time.Microsecond) // intervals are closed
			}
			h.checkOrder()
			if good := len(h.violations) == 0; good != tt.good {
				t.Errorf("one order: %v, want %v: %v", good, tt.good, h.violations)
			}
		})
	}
}
