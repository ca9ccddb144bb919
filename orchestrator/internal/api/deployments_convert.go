package api

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func checkDeploymentName(field, name string) error {
	switch {
	case name == "":
		return fault.BadField(field, "must not be empty")
	case len(name) > maxDeployment:
		return fault.BadField(field, "has %d characters; at most %d are allowed", len(name), maxDeployment)
	case !deploymentPattern.MatchString(name):
		return fault.BadField(field, "is %q; allowed are a-z 0-9 -, starting with a letter or digit", clip(name))
	}
	return nil
}

// deploymentFromProto checks and reads a deployment to create.
func deploymentFromProto(req *orchionv1.CreateDeploymentRequest) (model.Deployment, error) {
	var none model.Deployment
	spec, err := deploymentSpecFromProto(req.GetSpec())
	if err != nil {
		return none, err
	}
	// An empty name is made from the model's.
	if req.GetName() != "" {
		if err := checkDeploymentName("name", req.GetName()); err != nil {
			return none, err
		}
	}
	if err := checkLabels("labels", req.GetLabels()); err != nil {
		return none, err
	}
	return model.Deployment{Name: req.GetName(), Labels: req.GetLabels(), Spec: spec}, nil
}

func deploymentSpecFromProto(s *orchionv1.DeploymentSpec) (model.Spec, error) {
	var none model.Spec
	if s == nil {
		return none, fault.BadField("spec", "must be given")
	}
	if err := checkModel("spec.model", s.GetModel()); err != nil {
		return none, err
	}
	switch s.GetEngine() {
	case orchionv1.Engine_ENGINE_OLLAMA, orchionv1.Engine_ENGINE_VLLM, orchionv1.Engine_ENGINE_EXTERNAL:
	default:
		return none, fault.BadField("spec.engine", "is %v; allowed are %s", s.GetEngine(), allowed(orchionv1.Engine_value))
	}
	spec := model.Spec{Model: s.GetModel(), Engine: model.Engine(s.GetEngine()), Replicas: 1}
	if err := changeSpec(&spec, s); err != nil {
		return none, err
	}
	return spec, nil
}

// changeSpec puts those fields that can be changed and are given in s into a
// spec. On an error the spec is not to be used.
func changeSpec(spec *model.Spec, s *orchionv1.DeploymentSpec) error {
	if image := s.GetImage(); image != "" {
		if err := checkImage("spec.image", image); err != nil {
			return err
		}
		spec.Image = image
	}
	if args := s.GetArgs(); len(args) > 0 {
		if err := checkArguments("spec.args", args); err != nil {
			return err
		}
		spec.Args = args
	}
	if err := sizeSpec(spec, s); err != nil {
		return err
	}
	if err := spec.Limit(number(s.MaxInFlight), number(s.MaxQueued)); err != nil {
		return err
	}
	if s.GetOllama() != nil {
		settings, err := ollamaFromProto(s.GetOllama())
		if err != nil {
			return err
		}
		spec.Ollama = settings
	}
	if ids := s.GetNodes(); len(ids) > 0 {
		if err := checkNodeIDs("spec.nodes", ids); err != nil {
			return err
		}
		spec.Nodes = ids
	}
	var err error
	if len(s.GetConstraints()) > 0 {
		if spec.Constraints, err = constraintsFromProto("spec.constraints", s.GetConstraints()); err != nil {
			return err
		}
	}
	if len(s.GetTolerations()) > 0 {
		if err := checkTolerations("spec.tolerations", s.GetTolerations()); err != nil {
			return err
		}
		spec.Tolerations = s.GetTolerations()
	}
	if s.GetResources() != nil {
		if spec.Resources, err = resourcesFromProto("spec.resources", s.GetResources()); err != nil {
			return err
		}
	}
	return nil
}

// ollamaFromProto reads settings of Ollama; nil: nothing is different from its defaults.
func ollamaFromProto(o *orchionv1.OllamaSettings) (*model.OllamaSettings, error) {
	settings := model.OllamaSettings{
		Modelfile: o.GetModelfile(), NumParallel: int(o.GetNumParallel()), ContextLength: int(o.GetContextLength()),
	}
	if o.NumParallel != nil {
		if err := checkRange("spec.ollama.numParallel", o.GetNumParallel(), 1, model.MaxNumParallel); err != nil {
			return nil, err
		}
	}
	if o.ContextLength != nil {
		if err := checkRange("spec.ollama.contextLength", o.GetContextLength(), 1, model.MaxContextLength); err != nil {
			return nil, err
		}
	}
	if o.GetKeepAlive() != nil {
		var err error
		if settings.KeepAlive, err = duration("spec.ollama.keepAlive", o.GetKeepAlive(), model.MinKeepAlive, model.MaxKeepAlive); err != nil {
			return nil, err
		}
	}
	if settings == (model.OllamaSettings{}) {
		return nil, nil
	}
	return &settings, nil
}

func ollamaToProto(o *model.OllamaSettings) *orchionv1.OllamaSettings {
	if o == nil {
		return nil
	}
	out := &orchionv1.OllamaSettings{Modelfile: o.Modelfile}
	if o.NumParallel > 0 {
		out.NumParallel = proto.Int32(int32(o.NumParallel))
	}
	if o.ContextLength > 0 {
		out.ContextLength = proto.Int32(int32(o.ContextLength))
	}
	if o.KeepAlive > 0 {
		out.KeepAlive = durationpb.New(o.KeepAlive)
	}
	return out
}

// sizeSpec puts what is said of how often a model is to be served into a spec.
func sizeSpec(spec *model.Spec, s *orchionv1.DeploymentSpec) error {
	if s == nil {
		return nil
	}
	said := model.Sizing{
		Replicas: number(s.Replicas), MinReplicas: number(s.MinReplicas), MaxReplicas: number(s.MaxReplicas),
		Everywhere: s.Everywhere, TargetInFlight: number(s.TargetInFlight),
	}
	if s.Replicas != nil {
		if err := checkRange("spec.replicas", s.GetReplicas(), 0, model.MaxReplicas); err != nil {
			return err
		}
	}
	if s.TargetInFlight != nil {
		if err := checkRange("spec.targetInFlight", s.GetTargetInFlight(), 1, model.MaxTarget); err != nil {
			return err
		}
	}
	if s.GetIdleTimeout() != nil {
		idle, err := duration("spec.idleTimeout", s.GetIdleTimeout(), model.MinIdleTimeout, model.MaxIdleTimeout)
		if err != nil {
			return err
		}
		said.IdleTimeout = &idle
	}
	return spec.Size(said)
}

// number is an optional number of the domain.
func number(n *int32) *int {
	if n == nil {
		return nil
	}
	v := int(*n)
	return &v
}

func checkNodeIDs(field string, ids []string) error {
	if err := checkCount(field, len(ids), model.MaxNodes); err != nil {
		return err
	}
	for i, id := range ids {
		if err := checkID(indexed(field, i), id); err != nil {
			return err
		}
	}
	return nil
}

// changeDeployment puts into a deployment what an update gives. On an error
// the deployment is not to be used.
func changeDeployment(d *model.Deployment, req *orchionv1.UpdateDeploymentRequest) error {
	s := req.GetSpec()
	if m := s.GetModel(); m != "" && m != d.Spec.Model {
		return fault.BadField("spec.model", "is fixed (%s); create another deployment", d.Spec.Model)
	}
	if e := s.GetEngine(); e != orchionv1.Engine_ENGINE_UNSPECIFIED && model.Engine(e) != d.Spec.Engine {
		return fault.BadField("spec.engine", "is fixed (%s); create another deployment", orchionv1.Engine(d.Spec.Engine))
	}
	if len(req.GetLabels()) > 0 {
		if err := checkLabels("labels", req.GetLabels()); err != nil {
			return err
		}
		d.Labels = req.GetLabels()
	}
	return changeSpec(&d.Spec, s)
}

func deploymentToProto(d *model.Deployment) *orchionv1.Deployment {
	state, reason := d.Summary()
	wanted := int32(d.Wanted)
	out := &orchionv1.Deployment{
		WantedReplicas: &wanted,
		Name:           d.Name,
		Labels:         d.Labels,
		Spec:           deploymentSpecToProto(&d.Spec),
		State:          orchionv1.DeploymentState(state),
		Reason:         reason,
		CreatedAt:      timeToProto(d.CreatedAt),
	}
	for i := range d.Replicas {
		r := &d.Replicas[i]
		out.Replicas = append(out.Replicas, &orchionv1.Replica{
			Id:              r.ID,
			NodeId:          r.NodeID,
			State:           orchionv1.ReplicaState(r.State),
			ProgressPercent: r.ProgressPercent,
			CompletedBytes:  r.CompletedBytes,
			TotalBytes:      r.TotalBytes,
			Reason:          r.Reason,
			ReadyAt:         timeToProto(r.ReadyAt),
			Outdated:        r.Outdated,
		})
	}
	return out
}

func deploymentSpecToProto(s *model.Spec) *orchionv1.DeploymentSpec {
	out := &orchionv1.DeploymentSpec{
		Model: s.Model, Engine: orchionv1.Engine(s.Engine), Image: s.Image, Args: s.Args,
		Constraints: s.Constraints, Tolerations: s.Tolerations, Nodes: s.Nodes, Resources: resourcesToProto(s.Resources),
		Ollama: ollamaToProto(s.Ollama),
	}
	if s.MaxInFlight > 0 {
		out.MaxInFlight = proto.Int32(int32(s.MaxInFlight))
	}
	if s.MaxQueued != nil {
		out.MaxQueued = proto.Int32(int32(*s.MaxQueued))
	}
	if s.Everywhere {
		out.Everywhere = proto.Bool(true)
		return out
	}
	out.Replicas = proto.Int32(int32(s.Replicas))
	if s.Scales() {
		out.MinReplicas, out.MaxReplicas = proto.Int32(int32(s.MinReplicas)), proto.Int32(int32(s.MaxReplicas))
		if s.IdleTimeout > 0 {
			out.IdleTimeout = durationpb.New(s.IdleTimeout)
		}
		if s.TargetInFlight > 0 {
			out.TargetInFlight = proto.Int32(int32(s.TargetInFlight))
		}
	}
	return out
}

// replicaStatusFromProto checks and reads what a node observes of a replica.
func replicaStatusFromProto(field string, s *orchionv1.ReplicaStatus) (model.ReplicaStatus, error) {
	var none model.ReplicaStatus
	if err := checkRequired(field+".replicaId", s.GetReplicaId(), maxText); err != nil {
		return none, err
	}
	state := s.GetState()
	if _, ok := orchionv1.ReplicaState_name[int32(state)]; !ok || (state == 0 && !s.GetRemoved()) {
		return none, fault.BadField(field+".state", "is %v; allowed are %s", state, allowed(orchionv1.ReplicaState_value))
	}
	percent, err := checkPercent(field+".progressPercent", s.GetProgressPercent())
	if err != nil {
		return none, err
	}
	for name, n := range map[string]int64{".completedBytes": s.GetCompletedBytes(), ".totalBytes": s.GetTotalBytes()} {
		if err := checkRange(field+name, n, 0, maxInt64); err != nil {
			return none, err
		}
	}
	if err := checkProse(field+".reason", s.GetReason(), maxStatusReason); err != nil {
		return none, err
	}
	if err := checkText(field+".servedModel", s.GetServedModel(), maxText); err != nil {
		return none, err
	}
	return model.ReplicaStatus{
		ReplicaID: s.GetReplicaId(), State: model.ReplicaState(state), ProgressPercent: percent,
		CompletedBytes: s.GetCompletedBytes(), TotalBytes: s.GetTotalBytes(), Reason: s.GetReason(),
		Removed: s.GetRemoved(), ServedModel: s.GetServedModel(),
	}, nil
}

// indexed names the i-th entry of a field.
func indexed(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
