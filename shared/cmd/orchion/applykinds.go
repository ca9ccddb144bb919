package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// thing is what a document stands for.
func (d *document) thing() thing {
	switch request := d.request.(type) {
	case *orchionv1.PutQueueRequest:
		return &queueThing{wanted: request}
	case *orchionv1.PutScheduleRequest:
		return &scheduleThing{wanted: request}
	case *orchionv1.CreateDeploymentRequest:
		return &deploymentThing{wanted: request}
	case *orchionv1.SubmitJobRequest:
		return &jobThing{wanted: request}
	}
	panic(fmt.Sprintf("no kind %T", d.request)) // newRequest makes no other
}

// queueThing is a queue as it is to be.
type queueThing struct {
	wanted *orchionv1.PutQueueRequest
	action string
}

func (q *queueThing) path() string { return "/api/queues/" + segment(q.wanted.GetName()) }

func (q *queueThing) plan(ctx context.Context, c *client) (string, error) {
	found := &orchionv1.Queue{}
	exists, err := there(c.call(ctx, http.MethodGet, q.path(), nil, nil, found))
	switch {
	case err != nil:
		return "", err
	case !exists:
		q.action = isCreated
	case found.GetWeight() == max(q.wanted.GetWeight(), 1) && found.GetMaxRunning() == q.wanted.GetMaxRunning() && found.GetPaused() == q.wanted.GetPaused():
		q.action = isUnchanged
	default:
		q.action = isUpdated
	}
	return q.action, nil
}

func (q *queueThing) do(ctx context.Context, c *client) (action, id string, err error) {
	if q.action != isUnchanged {
		err = c.call(ctx, http.MethodPut, q.path(), nil, q.wanted, nil)
	}
	return q.action, "", err
}

func (q *queueThing) remove(ctx context.Context, c *client) (action, id string, err error) {
	return removeAt(ctx, c, q.path())
}

// scheduleThing is a schedule as it is to be.
type scheduleThing struct {
	wanted *orchionv1.PutScheduleRequest
	found  *orchionv1.Schedule // nil: there is none
	action string
}

func (s *scheduleThing) path() string { return "/api/schedules/" + segment(s.wanted.GetName()) }

func (s *scheduleThing) plan(ctx context.Context, c *client) (string, error) {
	found := &orchionv1.Schedule{}
	exists, err := there(c.call(ctx, http.MethodGet, s.path(), nil, nil, found))
	if err != nil {
		return "", err
	}
	s.action = isCreated
	if exists {
		s.found, s.action = found, isUpdated
		if proto.Equal(asPut(found), asStored(s.wanted)) {
			s.action = isUnchanged
		}
	}
	return s.action, nil
}

func (s *scheduleThing) do(ctx context.Context, c *client) (action, id string, err error) {
	if s.action == isUnchanged {
		return s.action, "", nil
	}
	now := &orchionv1.Schedule{}
	if err := c.call(ctx, http.MethodPut, s.path(), nil, s.wanted, now); err != nil {
		return "", "", err
	}
	// The orchestrator fills in more than this client knows of.
	if s.found != nil && proto.Equal(asPut(s.found), asPut(now)) {
		return isUnchanged, "", nil
	}
	return s.action, "", nil
}

func (s *scheduleThing) remove(ctx context.Context, c *client) (action, id string, err error) {
	return removeAt(ctx, c, s.path())
}

// asPut is what of a schedule people say.
func asPut(s *orchionv1.Schedule) *orchionv1.PutScheduleRequest {
	template := proto.CloneOf(s.GetTemplate())
	for _, f := range template.GetSpec().GetContainer().GetFiles() {
		if f.GetBlob() != "" {
			f.SizeBytes = 0 // the orchestrator's to know
		}
	}
	return &orchionv1.PutScheduleRequest{
		Name: s.GetName(), Cron: s.GetCron(), TimeZone: s.GetTimeZone(), Overlap: s.GetOverlap(), Paused: s.GetPaused(), Template: template,
	}
}

// asStored is a schedule with what the orchestrator fills in where nothing is said.
func asStored(wanted *orchionv1.PutScheduleRequest) *orchionv1.PutScheduleRequest {
	s := proto.CloneOf(wanted)
	s.Overlap = cmp.Or(s.GetOverlap(), orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_ALLOW)
	spec := s.GetTemplate().GetSpec()
	if spec == nil {
		return s
	}
	spec.Queue = cmp.Or(spec.GetQueue(), "default")
	if spec.GetResources() == nil {
		spec.Resources = &orchionv1.Resources{}
	}
	container := spec.GetContainer()
	if container == nil {
		return s
	}
	container.PullPolicy = cmp.Or(container.GetPullPolicy(), orchionv1.PullPolicy_PULL_POLICY_IF_NOT_PRESENT)
	for _, m := range container.GetTmpfs() {
		m.SizeBytes = cmp.Or(m.GetSizeBytes(), 64<<20)
	}
	for _, f := range container.GetFiles() {
		f.Mode, f.SizeBytes = cmp.Or(f.GetMode(), 0o644), int64(len(f.GetContent()))
	}
	return s
}

// deploymentThing is a deployment as it is to be.
type deploymentThing struct {
	wanted *orchionv1.CreateDeploymentRequest
	action string
	// hadOllama: it has settings of Ollama.
	hadOllama bool
}

func (d *deploymentThing) path() string { return "/api/deployments/" + segment(d.wanted.GetName()) }

func (d *deploymentThing) plan(ctx context.Context, c *client) (string, error) {
	found := &orchionv1.Deployment{}
	exists, err := there(c.call(ctx, http.MethodGet, d.path(), nil, nil, found))
	if err != nil {
		return "", err
	}
	if !exists {
		d.action = isCreated
		return d.action, nil
	}
	if found.GetState() == orchionv1.DeploymentState_DEPLOYMENT_STATE_DELETING {
		return "", errors.New("a deployment of this name is being deleted; apply again when it is gone")
	}
	want, has := d.wanted.GetSpec(), found.GetSpec()
	switch {
	case want.GetModel() != has.GetModel():
		return "", fmt.Errorf("spec.model: is %q; that of a deployment is fixed (%s): delete it first, or choose another name", want.GetModel(), has.GetModel())
	case want.GetEngine() != has.GetEngine():
		return "", fmt.Errorf("spec.engine: is %v; that of a deployment is fixed (%v): delete it first, or choose another name", want.GetEngine(), has.GetEngine())
	}
	if gone := noLongerSaid(d.wanted, found); gone != "" {
		return "", fmt.Errorf("%s: is not in the document, and a change of a deployment cannot take it away: say it, or delete the deployment first", gone)
	}
	d.action, d.hadOllama = isUpdated, has.GetOllama() != nil
	if sameDeployment(d.wanted, found) {
		d.action = isUnchanged
	}
	return d.action, nil
}

// noLongerSaid names what a deployment has and its document does not, of what the API
// cannot empty.
func noLongerSaid(wanted *orchionv1.CreateDeploymentRequest, found *orchionv1.Deployment) string {
	want, has := wanted.GetSpec(), found.GetSpec()
	for _, f := range []struct {
		name        string
		wanted, had int
	}{
		{"labels", len(wanted.GetLabels()), len(found.GetLabels())},
		{"spec.args", len(want.GetArgs()), len(has.GetArgs())},
		{"spec.constraints", len(want.GetConstraints()), len(has.GetConstraints())},
		{"spec.tolerations", len(want.GetTolerations()), len(has.GetTolerations())},
		{"spec.image", len(want.GetImage()), len(has.GetImage())},
		{"spec.nodes", len(want.GetNodes()), len(has.GetNodes())},
	} {
		if f.wanted == 0 && f.had > 0 {
			return f.name
		}
	}
	return ""
}

func sameDeployment(wanted *orchionv1.CreateDeploymentRequest, found *orchionv1.Deployment) bool {
	want, has := cmp.Or(wanted.GetSpec(), &orchionv1.DeploymentSpec{}), cmp.Or(found.GetSpec(), &orchionv1.DeploymentSpec{})
	resources := want.GetResources()
	if resources == nil {
		resources = &orchionv1.Resources{}
	}
	stored := has.GetResources()
	if stored == nil {
		stored = &orchionv1.Resources{}
	}
	labels := len(wanted.GetLabels()) == len(found.GetLabels())
	for key, value := range wanted.GetLabels() {
		labels = labels && found.GetLabels()[key] == value
	}
	return labels && sameSize(want, has) && want.GetImage() == has.GetImage() && slices.Equal(want.GetNodes(), has.GetNodes()) &&
		slices.Equal(want.GetArgs(), has.GetArgs()) && slices.Equal(want.GetConstraints(), has.GetConstraints()) &&
		slices.Equal(want.GetTolerations(), has.GetTolerations()) && proto.Equal(resources, stored) &&
		sameOllama(want.GetOllama(), has.GetOllama())
}

// sameOllama says whether settings are the same, none being as good as empty ones.
func sameOllama(want, has *orchionv1.OllamaSettings) bool {
	none := &orchionv1.OllamaSettings{}
	return proto.Equal(cmp.Or(want, none), cmp.Or(has, none))
}

// sameSize says whether a deployment is served as often as its document wants.
// What the document does not say may be anything, but a number alone is not a
// number between bounds.
func sameSize(want, has *orchionv1.DeploymentSpec) bool {
	said := func(wanted, stored *int32) bool { return wanted == nil || stored != nil && *wanted == *stored }
	bounded := want.MinReplicas != nil || want.MaxReplicas != nil
	switch {
	case want.Everywhere != nil && want.GetEverywhere() != has.GetEverywhere(),
		want.Replicas != nil && !bounded && has.MaxReplicas != nil,
		want.GetIdleTimeout() != nil && !proto.Equal(want.GetIdleTimeout(), has.GetIdleTimeout()):
		return false
	}
	return said(want.Replicas, has.Replicas) && said(want.MinReplicas, has.MinReplicas) && said(want.MaxReplicas, has.MaxReplicas) &&
		said(want.TargetInFlight, has.TargetInFlight) && said(want.MaxInFlight, has.MaxInFlight) && said(want.MaxQueued, has.MaxQueued)
}

func (d *deploymentThing) do(ctx context.Context, c *client) (action, id string, err error) {
	switch d.action {
	case isCreated:
		err = c.call(ctx, http.MethodPost, "/api/deployments", nil, d.wanted, nil)
	case isUpdated:
		spec := proto.CloneOf(d.wanted.GetSpec())
		if spec.GetResources() == nil {
			spec.Resources = &orchionv1.Resources{} // none any more
		}
		if spec.GetOllama() == nil && d.hadOllama {
			spec.Ollama = &orchionv1.OllamaSettings{} // likewise
		}
		err = c.call(ctx, http.MethodPatch, d.path(), nil, &orchionv1.UpdateDeploymentRequest{Labels: d.wanted.GetLabels(), Spec: spec}, nil)
	}
	return d.action, "", err
}

func (d *deploymentThing) remove(ctx context.Context, c *client) (action, id string, err error) {
	return removeAt(ctx, c, d.path())
}

// jobThing is a job that is to have been submitted.
type jobThing struct {
	wanted *orchionv1.SubmitJobRequest
	action string
}

func (j *jobThing) plan(ctx context.Context, c *client) (string, error) {
	found, err := j.find(ctx, c)
	j.action = isCreated
	if found != nil {
		j.action = isUnchanged
	}
	return j.action, err
}

// find looks for the job with the key; nil: there is none.
func (j *jobThing) find(ctx context.Context, c *client) (found *orchionv1.Job, err error) {
	query := url.Values{"name": {j.wanted.GetName()}, "pageSize": {"1000"}}
	err = everyPage(query, func() (string, bool, error) {
		page := &orchionv1.ListJobsResponse{}
		err := c.call(ctx, http.MethodGet, "/api/jobs", query, nil, page)
		for _, job := range page.GetJobs() {
			if job.GetIdempotencyKey() == j.wanted.GetIdempotencyKey() {
				found = job
			}
		}
		return page.GetNextPageToken(), found != nil, err
	})
	return found, err
}

func (j *jobThing) remove(ctx context.Context, c *client) (action, id string, err error) {
	found, err := j.find(ctx, c)
	switch {
	case err != nil:
		return "", "", err
	case found == nil:
		return isAbsent, "", nil
	case found.GetArrayId() != "":
		err = c.call(ctx, http.MethodPost, "/api/arrays/"+segment(found.GetArrayId())+":cancel", nil, &orchionv1.CancelArrayRequest{}, nil)
		return isCancelled, found.GetArrayId(), err
	case terminal(found.GetState()):
		return hasEnded, found.GetId(), nil
	}
	err = c.call(ctx, http.MethodPost, "/api/jobs/"+segment(found.GetId())+":cancel", nil, &orchionv1.CancelJobRequest{}, nil)
	return isCancelled, found.GetId(), err
}

func (j *jobThing) do(ctx context.Context, c *client) (action, id string, err error) {
	// Also when it is there: the answer names it, and it may have gone meanwhile.
	job := &orchionv1.Job{}
	if err := c.call(ctx, http.MethodPost, "/api/jobs", nil, j.wanted, job); err != nil {
		return "", "", err
	}
	return j.action, cmp.Or(job.GetArrayId(), job.GetId()), nil
}
