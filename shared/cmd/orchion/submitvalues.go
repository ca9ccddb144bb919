package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// retryClasses are the failures that --retry-on takes, by their names on the wire.
var retryClasses = []string{"exit-code", "out-of-memory", "start", "timeout", "image"}

// retry is the retry policy; nil when no flag names one.
func (s *submission) retry() (*orchionv1.RetryPolicy, error) {
	if s.retries == 0 && len(s.retryOn) == 0 && len(s.finalCodes) == 0 {
		return nil, nil
	}
	policy := &orchionv1.RetryPolicy{MaxAttempts: s.retries, NoRetryExitCodes: s.finalCodes}
	for _, name := range s.retryOn {
		if !slices.Contains(retryClasses, name) {
			return nil, usagef("--retry-on is %q; it must be of %s", name, strings.Join(retryClasses, ", "))
		}
		wire := failurePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		policy.RetryOn = append(policy.RetryOn, orchionv1.FailureClass(orchionv1.FailureClass_value[wire]))
	}
	return policy, nil
}

func (s *submission) resources() (*orchionv1.Resources, error) {
	r := &orchionv1.Resources{Gpus: s.gpus}
	if s.cpu != "" {
		cores, err := strconv.ParseFloat(s.cpu, 64)
		if err != nil || cores <= 0 || cores > 1e6 {
			return nil, usagef("--cpu is %q; it must be a number of cores such as 0.5 or 2", s.cpu)
		}
		r.CpuMillis = int64(cores * 1000)
	}
	var err error
	if r.MemoryBytes, err = parseSize("memory", s.memory); err != nil {
		return nil, err
	}
	if r.DiskBytes, err = parseSize("disk", s.disk); err != nil {
		return nil, err
	}
	r.GpuMemoryBytes, err = parseSize("gpu-memory", s.gpuMemory)
	return r, err
}

// parseAfter reads what a job waits for.
func parseAfter(list []string) ([]*orchionv1.JobDependency, error) {
	var after []*orchionv1.JobDependency
	for _, text := range list {
		id, on, named := strings.Cut(text, ":")
		d := &orchionv1.JobDependency{JobId: id, On: orchionv1.JobCondition_JOB_CONDITION_SUCCESS}
		switch {
		case id == "", named && on != "end" && on != "success":
			return nil, usagef("--after is %q; write the id of a job or array, and :end when it need not succeed", text)
		case on == "end":
			d.On = orchionv1.JobCondition_JOB_CONDITION_END
		}
		after = append(after, d)
	}
	return after, nil
}

// parseStartAfter reads a time, or a duration from now; empty is none.
func parseStartAfter(text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // unset is not an error
	}
	if wait, err := time.ParseDuration(text); err == nil && wait >= 0 {
		return timestamppb.New(now.Add(wait)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usagef("--start-after is %q; it must be a time such as 2026-01-02T15:04:05Z or a duration from now such as 30m", text)
	}
	return timestamppb.New(at), nil
}

var sizePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?$`)

// parseSize reads sizes such as 512MiB (binary) and 2GB (decimal); empty is 0.
func parseSize(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	parts := sizePattern.FindStringSubmatch(text)
	if parts == nil {
		return 0, usagef("--%s is %q; it must be a size such as 512MiB or 2GiB", flag, text)
	}
	step := 1000.0
	if parts[3] == "i" {
		step = 1024
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, usagef("--%s is %q; it must be a size such as 512MiB or 2GiB", flag, text)
	}
	for range strings.Index(" KMGT", parts[2]) {
		number *= step
	}
	return int64(number), nil
}
