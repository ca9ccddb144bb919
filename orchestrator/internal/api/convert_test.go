package api

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// TestNumbersOfStates holds the domain's numbers to those of the wire, which
// the conversions take for the same.
func TestNumbersOfStates(t *testing.T) {
	same := func(kind, domain, wire string) {
		t.Helper()
		name := wire[strings.LastIndex(wire, "STATE_")+len("STATE_"):]
		if !strings.EqualFold(domain, name) {
			t.Errorf("%s: the domain's %q is %s on the wire", kind, domain, wire)
		}
	}
	for _, s := range job.States() {
		same("job", s.String(), jobStateToProto(s).String())
	}
	if got, want := len(job.States()), len(orchionv1.JobState_name)-1; got != want {
		t.Errorf("%d states of jobs, %d on the wire", got, want)
	}
	for s := job.AttemptAssigned; s <= job.AttemptEvicted; s++ {
		same("attempt", s.String(), attemptStateToProto(s).String())
	}
	for _, f := range job.Failures() {
		if got, want := failureToProto(f).String(), "FAILURE_CLASS_"+strings.ReplaceAll(f.String(), " ", "_"); !strings.EqualFold(got, want) {
			t.Errorf("failure: the domain's %q is %s on the wire", f, got)
		}
	}
	if got, want := len(job.Failures()), len(orchionv1.FailureClass_name)-1; got != want {
		t.Errorf("%d classes of failures, %d on the wire", got, want)
	}
	for _, p := range job.Placements() {
		if got, want := orchionv1.Placement(p).String(), "PLACEMENT_"+p.String(); !strings.EqualFold(got, want) {
			t.Errorf("placement: the domain's %q is %s on the wire", p, got)
		}
	}
	for s := model.Pending; s <= model.Stopping; s++ {
		same("replica", s.String(), orchionv1.ReplicaState(s).String())
	}
	for s := model.DeploymentPending; s <= model.DeploymentDeleting; s++ {
		same("deployment", s.String(), orchionv1.DeploymentState(s).String())
	}
	for s := node.Offline; s <= node.Draining; s++ {
		same("node", s.String(), nodeStateToProto(s).String())
		if back := nodeStateFromProto(nodeStateToProto(s)); back != s {
			t.Errorf("%v comes back as %v", s, back)
		}
	}
	for mode, want := range map[node.DrainMode]orchionv1.DrainMode{
		node.DrainFinish: orchionv1.DrainMode_DRAIN_MODE_FINISH, node.DrainMove: orchionv1.DrainMode_DRAIN_MODE_MOVE,
	} {
		if orchionv1.DrainMode(mode) != want {
			t.Errorf("drain mode %d is %v", mode, orchionv1.DrainMode(mode))
		}
	}
	for e := model.Ollama; e <= model.External; e++ {
		if got := orchionv1.Engine(e).String(); !strings.EqualFold(got, "ENGINE_"+e.String()) {
			t.Errorf("engine %v is %s on the wire", e, got)
		}
	}
	for typ, want := range map[events.Type]orchionv1.EventType{
		events.Updated: orchionv1.EventType_EVENT_TYPE_UPDATED, events.Removed: orchionv1.EventType_EVENT_TYPE_REMOVED,
		events.Reset: orchionv1.EventType_EVENT_TYPE_RESET,
	} {
		if orchionv1.EventType(typ) != want {
			t.Errorf("event type %d is %v", typ, orchionv1.EventType(typ))
		}
	}
}

func drawJobSpec(t *rapid.T) job.Spec {
	text := rapid.StringMatching(`[ -~]{0,20}`)
	seconds := func(name string, low, high int) time.Duration {
		return time.Duration(rapid.IntRange(low, high).Draw(t, name)) * time.Second
	}
	spec := job.Spec{
		Resources: job.Resources{
			CPUMillis: rapid.Int64Range(0, 64_000).Draw(t, "cpu"), GPUs: rapid.IntRange(0, 8).Draw(t, "gpus"),
			MemoryBytes:    rapid.SampledFrom([]int64{0, minMemoryBytes, 1 << 34}).Draw(t, "memory"),
			GPUMemoryBytes: rapid.Int64Range(1, 1<<40).Draw(t, "gpuMemory"),
			GPUVendor:      rapid.SampledFrom([]string{"", "nvidia"}).Draw(t, "vendor"),
			DiskBytes:      rapid.Int64Range(0, 1<<40).Draw(t, "disk"),
		},
		Constraints: rapid.SliceOfN(rapid.SampledFrom([]string{"os=linux", "memory>=8GiB", "label.room in (office,lab)"}), 0, 3).Draw(t, "constraints"),
		Tolerations: rapid.SliceOfN(rapid.SampledFrom([]string{"gpu-only", "a/b.c_d", "*"}), 0, 3).Draw(t, "tolerations"),
		Placement:   job.Placement(rapid.IntRange(0, len(job.Placements())).Draw(t, "placement")),
		AvoidJobs:   rapid.SampledFrom([]string{"", "app=db", "app,tier!=web"}).Draw(t, "avoidJobs"),
		Queue:       rapid.SampledFrom([]string{job.DefaultQueue, "night.2"}).Draw(t, "queue"),
		Priority:    rapid.IntRange(-1000, 1000).Draw(t, "priority"),
		Preemptible: rapid.Bool().Draw(t, "preemptible"),
		Retry: job.Retry{
			MaxAttempts: rapid.IntRange(0, 100).Draw(t, "attempts"), InitialBackoff: seconds("initial", 0, 60), MaxBackoff: seconds("max", 60, 600),
			RetryOn:          rapid.SliceOfNDistinct(rapid.SampledFrom(job.Failures()).Filter(job.Failure.Selectable), 0, 3, rapid.ID[job.Failure]).Draw(t, "retryOn"),
			NoRetryExitCodes: rapid.SliceOfN(rapid.IntRange(1, 255), 0, 3).Draw(t, "noRetryExitCodes"),
		},
		Timeout:      seconds("timeout", 1, 3600),
		StartTimeout: seconds("startTimeout", 1, 3600),
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "after") {
		on := rapid.SampledFrom([]job.Condition{job.OnSuccess, job.OnEnd}).Draw(t, "on")
		spec.After = append(spec.After, job.Dependency{ID: fmt.Sprint("j", i), On: on})
	}
	if rapid.Bool().Draw(t, "delayed") {
		spec.StartAfter = time.Unix(rapid.Int64Range(1, 1_800_000_000).Draw(t, "start"), 7).UTC()
		spec.QueueTimeout = seconds("queueTimeout", 1, 3600)
	}
	if rapid.Bool().Draw(t, "container") {
		spec.Container = &job.Container{
			Image:               rapid.SampledFrom([]string{"alpine", "docker.io/library/alpine:3.22", "localhost/x@sha256:" + strings.Repeat("a", 64)}).Draw(t, "image"),
			Command:             rapid.SliceOfN(text, 0, 3).Draw(t, "command"),
			Args:                rapid.SliceOfN(text, 0, 3).Draw(t, "args"),
			Env:                 rapid.MapOfN(rapid.StringMatching(`[A-Z][A-Z0-9_]{0,5}`), text, 0, 3).Draw(t, "env"),
			PullPolicy:          rapid.SampledFrom([]job.PullPolicy{job.PullIfNotPresent, job.PullAlways, job.PullNever}).Draw(t, "pull"),
			Models:              rapid.SliceOfN(rapid.StringMatching(`[a-z0-9.]{1,9}:[a-z0-9]{1,4}`), 0, 3).Draw(t, "models"),
			StopGrace:           seconds("grace", 1, 300),
			WorkingDir:          rapid.SampledFrom([]string{"", "/", "/work/deep"}).Draw(t, "workingDir"),
			User:                rapid.SampledFrom([]string{"", "nobody", "1000:1000"}).Draw(t, "user"),
			RegistryCredentials: rapid.SampledFrom([]string{"", "work-1"}).Draw(t, "credentials"),
			ShmBytes:            rapid.Int64Range(0, 1<<40).Draw(t, "shm"),
			Tmpfs:               rapid.SliceOfNDistinct(rapid.Just(job.Tmpfs{Path: "/scratch", SizeBytes: 1 << 20}), 0, 1, rapid.ID[job.Tmpfs]).Draw(t, "tmpfs"),
			Volumes:             rapid.SliceOfNDistinct(rapid.SampledFrom([]job.Volume{{Name: "v", Path: "/v"}, {Name: "v", Path: "/w", ReadOnly: true}}), 0, 2, rapid.ID[job.Volume]).Draw(t, "volumes"),
		}
		for i, content := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 9), 0, 3).Draw(t, "files") {
			spec.Container.Files = append(spec.Container.Files, job.File{
				Path: fmt.Sprintf("/in/%d", i), Content: content, Size: int64(len(content)), Mode: rapid.IntRange(1, 0o777).Draw(t, "mode"),
			})
		}
		if rapid.Bool().Draw(t, "artifact") {
			spec.Container.Artifacts = []job.ArtifactSpec{{Path: "/out/**", Name: "all", Optional: rapid.Bool().Draw(t, "optional")}}
		}
		if rapid.Bool().Draw(t, "blob") {
			spec.Container.Files = append(spec.Container.Files, job.File{
				Path: "/in/blob", Blob: blob.Digest("sha256:" + strings.Repeat("b", 64)), Mode: 0o644,
			})
		}
		return spec
	}
	if rapid.Bool().Draw(t, "process") {
		spec.Process = &job.Process{
			Command:    rapid.SampledFrom([]string{"ffmpeg", "/usr/bin/ffmpeg", `C:\tools\x.exe`}).Draw(t, "command"),
			Args:       rapid.SliceOfN(text, 0, 3).Draw(t, "args"),
			Env:        rapid.MapOfN(rapid.StringMatching(`[A-Z][A-Z0-9_]{0,5}`), text, 0, 3).Draw(t, "env"),
			WorkingDir: rapid.SampledFrom([]string{"", "/srv/in"}).Draw(t, "workingDir"),
			StopGrace:  seconds("grace", 1, 300),
			Models:     rapid.SliceOfN(rapid.Just("m:1"), 0, 1).Draw(t, "models"),
		}
		return spec
	}
	spec.Chat = &job.Chat{Model: "m", MaxTokens: rapid.IntRange(0, 4096).Draw(t, "tokens")}
	if rapid.Bool().Draw(t, "hot") {
		heat := rapid.Float64Range(0, 2).Draw(t, "temperature")
		spec.Chat.Temperature = &heat
	}
	for range rapid.IntRange(1, 3).Draw(t, "messages") {
		spec.Chat.Messages = append(spec.Chat.Messages, job.Message{
			Role: rapid.SampledFrom([]string{"system", "user", "assistant"}).Draw(t, "role"), Content: text.Draw(t, "content"),
		})
	}
	return spec
}

func TestJobSpecsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawJobSpec(t)
		back, err := jobSpecFromProto(jobSpecToProto(&spec))
		if err != nil {
			t.Fatalf("%+v is refused: %v", spec, err)
		}
		if diff := cmp.Diff(spec, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDeploymentSpecsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := model.Spec{
			Model:       rapid.StringMatching(`[a-z0-9./]{1,20}(:[a-z0-9.]{1,5})?`).Draw(t, "model"),
			Engine:      rapid.SampledFrom([]model.Engine{model.Ollama, model.VLLM, model.External}).Draw(t, "engine"),
			Image:       rapid.SampledFrom([]string{"", "ollama/ollama:0.6.5"}).Draw(t, "image"),
			Args:        rapid.SliceOfN(rapid.StringMatching(`--[a-z=0-9]{1,9}`), 0, 3).Draw(t, "args"),
			Replicas:    rapid.IntRange(0, 64).Draw(t, "replicas"),
			Constraints: rapid.SliceOfN(rapid.Just("os=linux"), 0, 2).Draw(t, "constraints"),
			Tolerations: rapid.SliceOfN(rapid.SampledFrom([]string{"gpu-only", "*"}), 0, 2).Draw(t, "tolerations"),
			Resources:   job.Resources{GPUs: rapid.IntRange(0, 4).Draw(t, "gpus")},
			Ollama: rapid.SampledFrom([]*model.OllamaSettings{
				nil, {Modelfile: "FROM a"}, {NumParallel: 2, ContextLength: 4096}, {KeepAlive: time.Minute},
			}).Draw(t, "ollama"),
		}
		back, err := deploymentSpecFromProto(deploymentSpecToProto(&spec))
		if err != nil {
			t.Fatalf("%+v is refused: %v", spec, err)
		}
		if diff := cmp.Diff(spec, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestNodesComeBack(t *testing.T) {
	capabilities := node.Capabilities{
		OS: "linux", Arch: "arm64", Platform: "debian 12.11", Kernel: "6.1", MemoryBytes: 1 << 36,
		CPU:  node.CPU{Model: "Some CPU @ 3GHz", PhysicalCores: 8, LogicalCores: 16},
		Disk: node.Disk{TotalBytes: 1 << 40, Path: "/var/lib/orchion"},
		GPUs: []node.GPU{{Vendor: "nvidia", Model: "RTX", MemoryBytes: 1 << 34, DriverVersion: "550", UUID: "GPU-1"}},
		Runtimes: []node.Runtime{
			{Name: "podman", Version: "5", Endpoint: "unix:///run/podman.sock", Rootless: true}, {Name: "docker", Version: "28"},
		},
		Credentials: []node.RegistryCredentials{{Name: "work", Registry: "registry.example.org:5000"}},
		Processes:   []node.AllowedProcess{{Name: "ffmpeg", Path: "/usr/bin/ffmpeg"}},
		Engines:     []node.LocalEngine{{Name: "ollama", Version: "0.6", Endpoint: "http://127.0.0.1:11434", Models: []string{"a", "b"}}},
	}
	usage := node.Usage{CPUPercent: 12.5, MemoryUsedBytes: 5, DiskUsedBytes: 6, RunningJobs: 7, MemoryOthersBytes: 4,
		GPUs: []node.GPUUsage{{UUID: "GPU-1", UtilizationPercent: 99, MemoryUsedBytes: 8}}}
	gotCapabilities, err := capabilitiesFromProto("c", capabilitiesToProto(&capabilities))
	if diff := cmp.Diff(capabilities, gotCapabilities); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	gotUsage, err := usageFromProto("u", usageToProto(&usage))
	if diff := cmp.Diff(usage, gotUsage); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	// A field that somebody adds to the domain has to be added to the
	// conversion too: none of those above is zero.
	for _, v := range []any{capabilities, usage, capabilities.GPUs[0], capabilities.Runtimes[0], capabilities.Engines[0], capabilities.Processes[0], capabilities.Credentials[0], usage.GPUs[0]} {
		value := reflect.ValueOf(v)
		for i := range value.NumField() {
			if value.Field(i).IsZero() {
				t.Errorf("%T.%s is not tested", v, value.Type().Field(i).Name)
			}
		}
	}
}

func TestEveryMessageToANode(t *testing.T) {
	ref := job.Ref{JobID: "j", Attempt: 3}
	for _, m := range []dispatch.Message{
		dispatch.AssignmentSet{Jobs: []dispatch.JobAssignment{{Ref: ref, Name: "n"}}, Replicas: []dispatch.ReplicaAssignment{{ReplicaID: "r"}}},
		dispatch.JobAssignment{Ref: ref, Spec: job.Spec{Container: &job.Container{Image: "i"}}, LeaseTTL: time.Second, GPUs: []string{"GPU-1"}},
		dispatch.CancelAttempt{Ref: ref, Grace: time.Second, Reason: "why"},
		dispatch.ReplicaAssignment{ReplicaID: "r", Deployment: "d", Spec: model.Spec{Model: "m"}, GPUs: []string{"GPU-1"}},
		dispatch.RemoveReplica{ReplicaID: "r"},
		dispatch.LeasesRenewed{Sequence: 9, TTL: time.Second, Renewed: []job.Ref{ref}, Lost: []job.Ref{ref}},
		dispatch.AttemptAcknowledged{Ref: ref, Accepted: true},
		dispatch.OpenTunnel{TunnelID: "t", ReplicaID: "r"},
		dispatch.OpenTunnel{TunnelID: "t", EngineEndpoint: "http://127.0.0.1:1"},
	} {
		out, err := messageToProto(m)
		if err != nil || out.GetMessage() == nil {
			t.Errorf("%T becomes %v, %v", m, out, err)
		}
	}
}

func TestCut(t *testing.T) {
	for text, want := range map[string]string{
		"short":                   "short",
		"exactly ten":             "exactly…",
		"äöüäöüäöü":               "äöü…",
		strings.Repeat("x", 1000): "xxxxxxx…",
	} {
		if got := cut(text, 10); got != want {
			t.Errorf("cut(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for _, tc := range []struct {
		err        error
		code       codes.Code
		text       string
		unexpected bool
	}{
		{fault.BadField("spec.x", "is odd"), codes.InvalidArgument, "spec.x: is odd", false},
		{fault.New(fault.NotFound, "gone"), codes.NotFound, "gone", false},
		{fault.New(fault.AlreadyExists, "there"), codes.AlreadyExists, "there", false},
		{fault.New(fault.Precondition, "no"), codes.FailedPrecondition, "no", false},
		{fault.New(fault.Exhausted, "full"), codes.ResourceExhausted, "full", false},
		{fault.New(fault.Superseded, "taken"), codes.Aborted, "taken", false},
		{fault.Wrap(fault.Unavailable, errors.New("SECRET"), "later"), codes.Unavailable, "later", false},
		{fault.Wrap(fault.Internal, errors.New("SECRET"), "SECRET"), codes.Internal, "internal error; the orchestrator's log says more", true},
		{errors.New("SECRET"), codes.Internal, "internal error; the orchestrator's log says more", true},
		{events.ErrClosed, codes.Unavailable, "the orchestrator is shutting down; try again in a moment", false},
	} {
		st, unexpected := statusOf(tc.err)
		if st.Code() != tc.code || st.Message() != tc.text || unexpected != tc.unexpected {
			t.Errorf("%v becomes %v %q (unexpected %v)", tc.err, st.Code(), st.Message(), unexpected)
		}
	}
}
