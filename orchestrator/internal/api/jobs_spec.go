package api

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Limits on one job.
const (
	maxArguments     = 1024
	maxArgumentBytes = 256 << 10 // of command or args together
	maxEnv           = 256
	maxEnvName       = 255
	maxEnvBytes      = 256 << 10 // of all names and values together
	maxModels        = 32
	maxMessages      = 256
	maxMessageBytes  = 1 << 20 // of all messages together
	maxChatTokens    = 1 << 20
	maxTemperature   = 2
	maxPriority      = 1000
	maxAttempts      = 100
	maxBackoff       = 24 * time.Hour
	maxExitCode      = 255
	minTimeout       = time.Second
	maxTimeout       = 30 * 24 * time.Hour
	maxStartTimeout  = 24 * time.Hour
	maxStopGrace     = 5 * time.Minute
	maxArrayBytes    = 64 << 20 // of all jobs of an array together
	maxStartAfter    = 366 * 24 * time.Hour
	maxCPUMillis     = 10_000_000
	// minMemoryBytes is the least that container engines accept.
	minMemoryBytes = 6 << 20
	maxInt64       = math.MaxInt64
)

// gpuVendor is whose GPUs the drivers of container engines pass on.
const gpuVendor = "nvidia"

// reservedEnv begins the names that Orchion itself sets in a job's container.
const reservedEnv = "ORCHION_"

// envName is wider than POSIX: what engines and programs do take.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// submissionFromProto checks and reads a job to submit.
func submissionFromProto(req *orchionv1.SubmitJobRequest) (job.Job, error) {
	var none job.Job
	if err := checkText("name", req.GetName(), maxJobName); err != nil {
		return none, err
	}
	if err := checkLabels("labels", req.GetLabels()); err != nil {
		return none, err
	}
	if err := checkText("idempotencyKey", req.GetIdempotencyKey(), maxIdempotency); err != nil {
		return none, err
	}
	spec, err := jobSpecFromProto(req.GetSpec())
	if err != nil {
		return none, err
	}
	return job.Job{
		Name: req.GetName(), Labels: req.GetLabels(), IdempotencyKey: req.GetIdempotencyKey(), Spec: spec,
	}, nil
}

func jobSpecFromProto(s *orchionv1.JobSpec) (job.Spec, error) {
	var none, spec job.Spec
	var err error
	switch kind := s.GetKind().(type) {
	case *orchionv1.JobSpec_Container:
		spec.Container, err = containerFromProto("spec.container", kind.Container)
	case *orchionv1.JobSpec_Process:
		spec.Process, err = processFromProto("spec.process", kind.Process)
	case *orchionv1.JobSpec_Chat:
		spec.Chat, err = chatFromProto("spec.chat", kind.Chat)
	default:
		err = fault.BadField("spec", "must hold one of container, chat and process")
	}
	if err != nil {
		return none, err
	}
	if spec.Resources, err = resourcesFromProto("spec.resources", s.GetResources()); err != nil {
		return none, err
	}
	if spec.Constraints, err = constraintsFromProto("spec.constraints", s.GetConstraints()); err != nil {
		return none, err
	}
	if err := checkTolerations("spec.tolerations", s.GetTolerations()); err != nil {
		return none, err
	}
	spec.Tolerations = s.GetTolerations()
	if spec.Queue = s.GetQueue(); spec.Queue != "" {
		if err := job.CheckQueueName("spec.queue", spec.Queue); err != nil {
			return none, err
		}
	}
	if err := checkRange("spec.priority", s.GetPriority(), -maxPriority, maxPriority); err != nil {
		return none, err
	}
	spec.Priority = int(s.GetPriority())
	spec.Preemptible = s.GetPreemptible()
	if spec.Retry, err = retryFromProto("spec.retry", s.GetRetry()); err != nil {
		return none, err
	}
	if spec.Timeout, err = duration("spec.timeout", s.GetTimeout(), minTimeout, maxTimeout); err != nil {
		return none, err
	}
	if spec.StartAfter, err = startAfter("spec.startAfter", s.GetStartAfter(), time.Now()); err != nil {
		return none, err
	}
	if spec.QueueTimeout, err = duration("spec.queueTimeout", s.GetQueueTimeout(), minTimeout, maxTimeout); err != nil {
		return none, err
	}
	if spec.After, err = afterFromProto("spec.after", s.GetAfter()); err != nil {
		return none, err
	}
	if spec.Placement, err = placementFromProto("spec.placement", s.GetPlacement()); err != nil {
		return none, err
	}
	if spec.Affinities, err = affinitiesFromProto("spec.affinities", s.GetAffinities()); err != nil {
		return none, err
	}
	if spec.AvoidJobs, err = avoidJobsFromProto("spec.avoidJobs", s.GetAvoidJobs()); err != nil {
		return none, err
	}
	if spec.StartTimeout, err = duration("spec.startTimeout", s.GetStartTimeout(), minTimeout, maxStartTimeout); err != nil {
		return none, err
	}
	return spec, nil
}

func afterFromProto(field string, list []*orchionv1.JobDependency) ([]job.Dependency, error) {
	if err := checkCount(field, len(list), job.MaxAfter); err != nil {
		return nil, err
	}
	var after []job.Dependency
	named := make(map[string]bool, len(list))
	for i, d := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checkJobID(at+".jobId", d.GetJobId()); err != nil {
			return nil, err
		}
		if named[d.GetJobId()] {
			return nil, fault.BadField(at+".jobId", "names %s a second time", d.GetJobId())
		}
		named[d.GetJobId()] = true
		on := job.OnSuccess
		switch d.GetOn() {
		case orchionv1.JobCondition_JOB_CONDITION_UNSPECIFIED, orchionv1.JobCondition_JOB_CONDITION_SUCCESS:
		case orchionv1.JobCondition_JOB_CONDITION_END:
			on = job.OnEnd
		default:
			return nil, fault.BadField(at+".on", "is %d; allowed are %s", d.GetOn(), allowed(orchionv1.JobCondition_value))
		}
		after = append(after, job.Dependency{ID: d.GetJobId(), On: on})
	}
	return after, nil
}

// checkArray checks how many jobs are wanted. The spec is kept with each of
// them, so that a large one is not wanted often.
func checkArray(req *orchionv1.SubmitJobRequest) error {
	if req.Count == nil {
		return nil
	}
	if err := checkRange("count", req.GetCount(), 1, job.MaxArray); err != nil {
		return err
	}
	if size := proto.Size(req); size*int(req.GetCount()) > maxArrayBytes {
		return fault.BadField("count", "is %d, of jobs with %d bytes each; at most %d bytes are allowed together", req.GetCount(), size, maxArrayBytes)
	}
	return nil
}

// startAfter reads when a job may start; unset is the zero time.
func startAfter(field string, t *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fault.BadField(field, "is not a time such as \"2026-01-02T15:04:05Z\"")
	}
	at := t.AsTime()
	if latest := now.Add(maxStartAfter); at.After(latest) {
		return time.Time{}, fault.BadField(field, "is %s, more than a year ahead; at the latest it may be %s",
			at.Format(time.RFC3339), latest.UTC().Format(time.RFC3339))
	}
	return at, nil
}

func containerFromProto(field string, c *orchionv1.ContainerSpec) (*job.Container, error) {
	if err := checkImage(field+".image", c.GetImage()); err != nil {
		return nil, err
	}
	if err := checkArguments(field+".command", c.GetCommand()); err != nil {
		return nil, err
	}
	if err := checkArguments(field+".args", c.GetArgs()); err != nil {
		return nil, err
	}
	if err := checkEnv(field+".env", c.GetEnv()); err != nil {
		return nil, err
	}
	pull := job.PullIfNotPresent
	switch c.GetPullPolicy() {
	case orchionv1.PullPolicy_PULL_POLICY_UNSPECIFIED, orchionv1.PullPolicy_PULL_POLICY_IF_NOT_PRESENT:
	case orchionv1.PullPolicy_PULL_POLICY_ALWAYS:
		pull = job.PullAlways
	case orchionv1.PullPolicy_PULL_POLICY_NEVER:
		pull = job.PullNever
	default:
		return nil, fault.BadField(field+".pullPolicy", "is %d; allowed are %s", c.GetPullPolicy(), allowed(orchionv1.PullPolicy_value))
	}
	if name := c.GetRegistryCredentials(); name != "" {
		if err := checkPolicyName(field+".registryCredentials", name); err != nil {
			return nil, err
		}
	}
	if err := checkModels(field+".models", c.GetModels()); err != nil {
		return nil, err
	}
	grace, err := duration(field+".stopGrace", c.GetStopGrace(), minTimeout, maxStopGrace)
	if err != nil {
		return nil, err
	}
	out := &job.Container{
		Image: c.GetImage(), Command: c.GetCommand(), Args: c.GetArgs(), Env: c.GetEnv(),
		PullPolicy: pull, Models: c.GetModels(), StopGrace: grace,
		WorkingDir: c.GetWorkingDir(), User: c.GetUser(), ShmBytes: c.GetShmBytes(),
		RegistryCredentials: c.GetRegistryCredentials(),
	}
	if err := surroundingsFromProto(field, c, out); err != nil {
		return nil, err
	}
	return out, nil
}

func checkImage(field, image string) error {
	if err := checkRequired(field, image, maxImage); err != nil {
		return err
	}
	if _, err := reference.ParseNormalizedNamed(image); err != nil {
		return fault.BadField(field, "is %q, which is not the name of an image such as docker.io/library/alpine:3.22", clip(image))
	}
	return nil
}

// checkModels checks the models that a job may call.
func checkModels(field string, models []string) error {
	if err := checkCount(field, len(models), maxModels); err != nil {
		return err
	}
	for i, m := range models {
		if err := checkModel(indexed(field, i), m); err != nil {
			return err
		}
	}
	return nil
}

func checkModel(field, model string) error {
	if err := checkRequired(field, model, maxText); err != nil {
		return err
	}
	if strings.ContainsAny(model, " \t") {
		return fault.BadField(field, "is %q; the name of a model holds no spaces", clip(model))
	}
	return nil
}

// checkArguments checks what is passed to a program.
func checkArguments(field string, args []string) error {
	if err := checkCount(field, len(args), maxArguments); err != nil {
		return err
	}
	total := 0
	for i, a := range args {
		if strings.ContainsRune(a, 0) {
			return fault.BadField(fmt.Sprintf("%s[%d]", field, i), "holds a NUL character, which no program can be given")
		}
		total += len(a)
	}
	if total > maxArgumentBytes {
		return fault.BadField(field, "has %d bytes together; at most %d are allowed", total, maxArgumentBytes)
	}
	return nil
}

func checkEnv(field string, env map[string]string) error {
	if err := checkCount(field, len(env), maxEnv); err != nil {
		return err
	}
	total := 0
	for name, value := range env {
		switch {
		case len(name) > maxEnvName || !envName.MatchString(name):
			return fault.BadField(field, "has the name %q; a name is 1 to %d characters of A-Z a-z 0-9 _ . -, not starting with a digit",
				clip(name), maxEnvName)
		case strings.HasPrefix(name, reservedEnv):
			return fault.BadField(field, "has the name %q; names starting with %s are set by Orchion itself", clip(name), reservedEnv)
		case strings.ContainsRune(value, 0):
			return fault.BadField(field, "has a value for %q with a NUL character, which no program can be given", name)
		}
		total += len(name) + len(value)
	}
	if total > maxEnvBytes {
		return fault.BadField(field, "has %d bytes together; at most %d are allowed", total, maxEnvBytes)
	}
	return nil
}

func chatFromProto(field string, c *orchionv1.ChatSpec) (*job.Chat, error) {
	if err := checkModel(field+".model", c.GetModel()); err != nil {
		return nil, err
	}
	if len(c.GetMessages()) == 0 {
		return nil, fault.BadField(field+".messages", "must hold at least one message")
	}
	if err := checkCount(field+".messages", len(c.GetMessages()), maxMessages); err != nil {
		return nil, err
	}
	if err := checkRange(field+".maxTokens", c.GetMaxTokens(), 0, maxChatTokens); err != nil {
		return nil, err
	}
	if t := c.Temperature; t != nil && !(*t >= 0 && *t <= maxTemperature) {
		return nil, fault.BadField(field+".temperature", "is %v; it must be between 0 and %d", *t, maxTemperature)
	}
	chat := &job.Chat{Model: c.GetModel(), MaxTokens: int(c.GetMaxTokens()), Temperature: c.Temperature}
	total := 0
	for i, m := range c.GetMessages() {
		switch m.GetRole() {
		case "system", "user", "assistant":
		default:
			return nil, fault.BadField(fmt.Sprintf("%s.messages[%d].role", field, i), "is %q; allowed are system, user, assistant", clip(m.GetRole()))
		}
		total += len(m.GetContent())
		chat.Messages = append(chat.Messages, job.Message{Role: m.GetRole(), Content: m.GetContent()})
	}
	if total > maxMessageBytes {
		return nil, fault.BadField(field+".messages", "have %d bytes together; at most %d are allowed", total, maxMessageBytes)
	}
	return chat, nil
}

func resourcesFromProto(field string, r *orchionv1.Resources) (job.Resources, error) {
	var none job.Resources
	if err := checkRange(field+".cpuMillis", r.GetCpuMillis(), 0, maxCPUMillis); err != nil {
		return none, err
	}
	if err := checkRange(field+".memoryBytes", r.GetMemoryBytes(), 0, maxBytesQuantity); err != nil {
		return none, err
	}
	if m := r.GetMemoryBytes(); m > 0 && m < minMemoryBytes {
		return none, fault.BadField(field+".memoryBytes", "is %d; container engines give no less than %d", m, minMemoryBytes)
	}
	if err := checkRange(field+".gpus", r.GetGpus(), 0, maxGPUs); err != nil {
		return none, err
	}
	if err := checkRange(field+".gpuMemoryBytes", r.GetGpuMemoryBytes(), 0, maxBytesQuantity); err != nil {
		return none, err
	}
	if err := checkRange(field+".diskBytes", r.GetDiskBytes(), 0, maxBytesQuantity); err != nil {
		return none, err
	}
	switch vendor := r.GetGpuVendor(); {
	case vendor != "" && vendor != gpuVendor:
		return none, fault.BadField(field+".gpuVendor", "is %q; allowed is %s, whose GPUs alone containers can be given", clip(vendor), gpuVendor)
	case vendor != "" && r.GetGpus() == 0 && r.GetGpuMemoryBytes() == 0:
		return none, fault.BadField(field+".gpuVendor", "is %q, but no GPU is asked for; set gpus or gpuMemoryBytes", vendor)
	}
	return job.Resources{
		CPUMillis: r.GetCpuMillis(), MemoryBytes: r.GetMemoryBytes(),
		GPUs: int(r.GetGpus()), GPUMemoryBytes: r.GetGpuMemoryBytes(),
		GPUVendor: r.GetGpuVendor(), DiskBytes: r.GetDiskBytes(),
	}, nil
}

func constraintsFromProto(field string, list []string) ([]string, error) {
	if err := checkCount(field, len(list), maxConstraints); err != nil {
		return nil, err
	}
	for i, text := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checkRequired(at, text, maxConstraint); err != nil {
			return nil, err
		}
		if _, err := scheduler.ParseConstraint(text); err != nil {
			return nil, fault.BadField(at, "%v", err)
		}
	}
	return list, nil
}

func retryFromProto(field string, r *orchionv1.RetryPolicy) (job.Retry, error) {
	var none job.Retry
	if err := checkRange(field+".maxAttempts", r.GetMaxAttempts(), 0, maxAttempts); err != nil {
		return none, err
	}
	initial, err := duration(field+".initialBackoff", r.GetInitialBackoff(), 0, maxBackoff)
	if err != nil {
		return none, err
	}
	most, err := duration(field+".maxBackoff", r.GetMaxBackoff(), 0, maxBackoff)
	if err != nil {
		return none, err
	}
	if most > 0 && most < initial {
		return none, fault.BadField(field+".maxBackoff", "is %v, less than initialBackoff, which is %v", most, initial)
	}
	policy := job.Retry{MaxAttempts: int(r.GetMaxAttempts()), InitialBackoff: initial, MaxBackoff: most}
	if policy.RetryOn, err = retryOnFromProto(field+".retryOn", r.GetRetryOn()); err != nil {
		return none, err
	}
	if err := checkCount(field+".noRetryExitCodes", len(r.GetNoRetryExitCodes()), maxExitCode); err != nil {
		return none, err
	}
	for i, code := range r.GetNoRetryExitCodes() {
		if err := checkRange(indexed(field+".noRetryExitCodes", i), code, 1, maxExitCode); err != nil {
			return none, err
		}
		policy.NoRetryExitCodes = append(policy.NoRetryExitCodes, int(code))
	}
	return policy, nil
}

// retryOnFromProto reads the classes of failures that a job may ask to be tried
// again after.
func retryOnFromProto(field string, classes []orchionv1.FailureClass) ([]job.Failure, error) {
	selectable := make(map[string]int32)
	for name, value := range orchionv1.FailureClass_value {
		if job.Failure(value).Selectable() {
			selectable[name] = value
		}
	}
	if err := checkCount(field, len(classes), len(selectable)); err != nil {
		return nil, err
	}
	var list []job.Failure
	for i, class := range classes {
		f := job.Failure(class)
		switch {
		case f == job.FailureNodeLost || f.Infrastructure():
			return nil, fault.BadField(indexed(field, i), "is %v, which is no fault of the job and always tried again; allowed are %s", class, allowed(selectable))
		case !f.Selectable():
			return nil, fault.BadField(indexed(field, i), "is %v; allowed are %s", class, allowed(selectable))
		case slices.Contains(list, f):
			return nil, fault.BadField(indexed(field, i), "is %v, which the list holds already", class)
		}
		list = append(list, f)
	}
	return list, nil
}
