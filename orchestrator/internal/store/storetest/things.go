package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// fullNode uses every field.
func fullNode(id string) node.Known {
	return node.Known{
		ID: id, Hostname: "host-" + id,
		AgentLabels: map[string]string{"room": "office"}, UserLabels: map[string]string{"ssd": ""},
		AgentTaints: []string{"gpu-only"}, UserTaints: []string{"attic", "slow"}, Cordoned: true,
		Drain: &node.Drain{
			Since: epoch, Mode: node.DrainMove, Deadline: epoch.Add(time.Minute), Reason: "new disk", Maintenance: true,
		},
		AgentVersion: "1.2.3", Address: "192.0.2.7",
		Capabilities: node.Capabilities{
			OS: "linux", Arch: "amd64", Platform: "debian", Kernel: "6.1",
			CPU:         node.CPU{Model: "x", PhysicalCores: 4, LogicalCores: 8},
			MemoryBytes: 1 << 36,
			Disk:        node.Disk{TotalBytes: 1 << 40, Path: "/data"},
			GPUs:        []node.GPU{{Vendor: "nvidia", Model: "T4", MemoryBytes: 1 << 34, DriverVersion: "1", UUID: "GPU-1"}},
			Runtimes:    []node.Runtime{{Name: "podman", Version: "4.3.1", Endpoint: "unix:///p", Rootless: true}},
			Engines:     []node.LocalEngine{{Name: "ollama", Version: "0.6", Endpoint: "http://127.0.0.1:11434", Models: []string{"m"}}},
		},
		RegisteredAt: epoch, LastSeenAt: epoch.Add(time.Second),
	}
}

func testNodes(t *testing.T, im Implementation) {
	s := open(t, im)
	list := func() []node.Known {
		t.Helper()
		nodes, err := s.ListNodes(t.Context())
		ok(t, err)
		return nodes
	}
	same(t, "an empty store", nil, list())
	b, a := fullNode("b"), node.Known{ID: "a", RegisteredAt: epoch}
	ok(t, s.SaveNode(t.Context(), b))
	ok(t, s.SaveNode(t.Context(), a))
	same(t, "two nodes by id", []node.Known{a, b}, list())

	b.Drain, b.Cordoned, b.UserLabels, b.Capabilities.GPUs = nil, false, nil, nil
	ok(t, s.SaveNode(t.Context(), b))
	a.LastSeenAt = epoch.Add(time.Hour)
	ok(t, s.TouchNodes(t.Context(), map[string]time.Time{"a": a.LastSeenAt, "unknown": epoch}))
	same(t, "one replaced, one touched", []node.Known{a, b}, list())

	ok(t, s.DeleteNode(t.Context(), "a"))
	wantFault(t, s.DeleteNode(t.Context(), "a"), fault.NotFound, `there is no node "a"`)
	wantFault(t, s.SaveNode(t.Context(), node.Known{}), fault.Invalid, "id: is empty; a node needs an id")
	same(t, "one deleted", []node.Known{b}, list())
}

func testDeployments(t *testing.T, im Implementation) {
	s := open(t, im)
	list := func() []model.Deployment {
		t.Helper()
		deployments, err := s.ListDeployments(t.Context())
		ok(t, err)
		return deployments
	}
	same(t, "an empty store", nil, list())
	qwen := model.Deployment{
		Name: "qwen", Labels: map[string]string{"tier": "small"}, CreatedAt: epoch,
		Spec: model.Spec{
			Model: "qwen3:0.6b", Engine: model.Ollama, Image: "example.org/ollama:1", Args: []string{"--x"}, Replicas: 2,
			Constraints: []string{"os=linux"}, Tolerations: []string{"*"}, Resources: job.Resources{MemoryBytes: 1 << 30},
		},
	}
	llama := model.Deployment{Name: "llama", CreatedAt: epoch, Spec: model.Spec{Model: "llama", Engine: model.VLLM, Replicas: 1}}
	ok(t, s.PutDeployment(t.Context(), qwen))
	ok(t, s.PutDeployment(t.Context(), llama))
	same(t, "two by name", []model.Deployment{llama, qwen}, list())

	// Only the placement of a replica is kept.
	ok(t, s.PutReplica(t.Context(), model.Replica{ID: "r2", Deployment: "qwen", NodeID: "n1", GPUs: []string{"GPU-1", "GPU-2"}}))
	ok(t, s.PutReplica(t.Context(), model.Replica{
		ID: "r1", Deployment: "qwen", State: model.Pulling, ProgressPercent: 42, Reason: "x", ReadyAt: epoch, ServedModel: "y",
	}))
	qwen.Replicas = []model.Replica{{ID: "r1", Deployment: "qwen"}, {ID: "r2", Deployment: "qwen", NodeID: "n1", GPUs: []string{"GPU-1", "GPU-2"}}}
	same(t, "with replicas by id", []model.Deployment{llama, qwen}, list())

	// Replacing a deployment leaves its replicas alone.
	changed := qwen
	changed.Deleting, changed.Spec.Replicas, changed.Replicas = true, 1, nil
	ok(t, s.PutDeployment(t.Context(), changed))
	ok(t, s.PutReplica(t.Context(), model.Replica{ID: "r1", Deployment: "qwen", NodeID: "n2", GPUs: []string{"GPU-3"}, Remove: true}))
	changed.Replicas = []model.Replica{{ID: "r1", Deployment: "qwen", NodeID: "n2", GPUs: []string{"GPU-3"}, Remove: true}, qwen.Replicas[1]}
	same(t, "both replaced", []model.Deployment{llama, changed}, list())

	ok(t, s.DeleteReplica(t.Context(), "r1"))
	wantFault(t, s.DeleteReplica(t.Context(), "r1"), fault.NotFound, `there is no replica "r1"`)
	ok(t, s.DeleteDeployment(t.Context(), "qwen"))
	wantFault(t, s.DeleteReplica(t.Context(), "r2"), fault.NotFound, `there is no replica "r2"`)
	wantFault(t, s.DeleteDeployment(t.Context(), "qwen"), fault.NotFound, `there is no deployment "qwen"`)
	wantFault(t, s.PutReplica(t.Context(), model.Replica{ID: "r3", Deployment: "qwen"}), fault.NotFound, `there is no deployment "qwen"`)
	wantFault(t, s.PutDeployment(t.Context(), model.Deployment{}), fault.Invalid, "name: is empty; a deployment needs a name")
	wantFault(t, s.PutReplica(t.Context(), model.Replica{Deployment: "llama"}), fault.Invalid, "id: is empty; a replica needs an id")
	same(t, "one deleted", []model.Deployment{llama}, list())
}

func testReopen(t *testing.T, im Implementation) {
	if im.Reopen == nil {
		t.Skip("this store does not outlive Close")
	}
	s := im.Open(t)
	submit(t, s, fullJob(1))
	submit(t, s, fullJob(2))
	must(t)(s.ClaimJob(t.Context(), "job-0002", "n1", epoch))
	must(t)(s.StartAttempt(t.Context(), job.Ref{JobID: "job-0002", Attempt: 1}, epoch))
	must(t)(s.CancelJob(t.Context(), "job-0002", "stop", epoch))
	ok(t, s.SaveNode(t.Context(), fullNode("n1")))
	ok(t, s.PutDeployment(t.Context(), model.Deployment{Name: "qwen", CreatedAt: epoch, Spec: model.Spec{Replicas: 1}}))
	ok(t, s.PutReplica(t.Context(), model.Replica{ID: "r1", Deployment: "qwen", NodeID: "n1"}))
	type state struct {
		Jobs        []job.Job
		Nodes       []node.Known
		Deployments []model.Deployment
	}
	read := func(s store.Store) (all state) {
		t.Helper()
		var err error
		all.Jobs = pages(t, s, store.JobFilter{Limit: 1})
		all.Nodes, err = s.ListNodes(t.Context())
		ok(t, err)
		all.Deployments, err = s.ListDeployments(t.Context())
		ok(t, err)
		return all
	}
	before := read(s)
	s = im.Reopen(t, s)
	defer s.Close()
	same(t, "after reopening", before, read(s))
	must(t)(s.CompleteAttempt(t.Context(), job.Ref{JobID: "job-0002", Attempt: 1}, job.End{State: job.AttemptCancelled, At: epoch}))
	again := fullJob(3)
	again.IdempotencyKey = fullJob(1).IdempotencyKey
	if stored, created, err := s.SubmitJob(t.Context(), again); created || err != nil || stored.ID != "job-0001" {
		t.Errorf("an idempotency key did not outlive reopening: %s, created %v, %v", stored.ID, created, err)
	}
}

func testContext(t *testing.T, im Implementation) {
	s := open(t, im)
	submit(t, s, newJob(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.ClaimJob(ctx, "job-0001", "n1", epoch)
	wantFault(t, err, fault.Unavailable, "the request ended before it was carried out; nothing was changed")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not carry the context's error", err)
	}
	if got := get(t, s, "job-0001"); got.State != job.Queued {
		t.Errorf("a claim whose caller was gone made the job %s", got.State)
	}
	_, err = s.ListJobs(ctx, store.JobFilter{Limit: 1})
	if !errors.Is(err, context.Canceled) || fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a list whose caller was gone answered %v", err)
	}
}

func testClose(t *testing.T, im Implementation) {
	s := im.Open(t)
	submit(t, s, newJob(1))
	ok(t, s.Close())
	const message = "the store is closed; the orchestrator is stopping"
	_, _, err := s.SubmitJob(t.Context(), newJob(2))
	wantFault(t, err, fault.Unavailable, message)
	_, err = s.GetJob(t.Context(), "job-0001")
	wantFault(t, err, fault.Unavailable, message)
	_, err = s.ListJobs(t.Context(), store.JobFilter{Limit: 1})
	wantFault(t, err, fault.Unavailable, message)
	wantFault(t, s.PendingJobs(t.Context(), func(job.Job) error { return nil }), fault.Unavailable, message)
	wantFault(t, s.SaveNode(t.Context(), node.Known{ID: "n1"}), fault.Unavailable, message)
	ok(t, s.Close()) // twice is no error
}
