package model

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// Create wants a model served. An empty name is made from the model's. A
// deployment of the same name and spec is answered as it is. Errors: Invalid,
// naming the field; AlreadyExists when the spec differs; Precondition while
// one of the name is being deleted; Exhausted; and the store's.
func (m *Manager) Create(ctx context.Context, wanted Deployment) (Deployment, error) {
	if wanted.Name == "" {
		wanted.Name = NameOf(wanted.Spec.Model)
	}
	if wanted.Name == "" && wanted.Spec.Model != "" {
		return Deployment{}, fault.BadField("name", "is empty, and none can be made from the model's; give one of a-z 0-9 -")
	}
	if !validName(wanted.Name) {
		return Deployment{}, fault.BadField("name",
			"%q is not 1 to %d lower-case letters, digits and hyphens, beginning with a letter or digit", wanted.Name, MaxNameLength)
	}
	if err := checkSpec(&wanted.Spec); err != nil {
		return Deployment{}, err
	}
	if wanted.CreatedAt.IsZero() {
		wanted.CreatedAt = time.Now()
	}
	wanted.Deleting, wanted.Replicas = false, nil
	return ask(ctx, m, func() (Deployment, error) { return m.create(&wanted) })
}

func (m *Manager) create(wanted *Deployment) (Deployment, error) {
	if d := m.deployments[wanted.Name]; d != nil {
		switch {
		case d.Deleting:
			return Deployment{}, fault.New(fault.Precondition, "deployment %s is being deleted; try again when it is gone", d.Name)
		case !sameSpec(&d.Spec, &wanted.Spec):
			return Deployment{}, fault.New(fault.AlreadyExists,
				"deployment %s exists and differs; update or delete it, or choose another name", d.Name)
		}
		return d.public(), nil
	}
	if len(m.deployments) >= m.cfg.MaxDeployments {
		return Deployment{}, fault.New(fault.Exhausted, "there are %d deployments, which is the limit; delete one first", len(m.deployments))
	}
	if err := m.otherRecipe(wanted); err != nil {
		return Deployment{}, err
	}
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutDeployment(ctx, *wanted) }); err != nil {
		return Deployment{}, err
	}
	d := newDeployment(wanted, time.Now())
	m.deployments[d.Name] = d
	d.touch()
	m.cfg.Logger.Info("deployment created", "deployment", d.Name, "model", d.Spec.Model, "engine", d.Spec.Engine.String())
	// Placed before it is answered, so that the answer says where.
	m.reconcile(time.Now())
	return d.public(), nil
}

// Update changes a deployment's labels and spec, whose model and engine are
// fixed. change gets the deployment as it is; it replaces maps and slices and
// does not write to them, and its error is answered. New constraints and
// tolerations hold for replicas placed from then on; new nodes move those that
// are on others; a new image, new arguments or resources replace the replicas
// one by one. Errors: NotFound; Invalid, naming the
// field; Precondition while it is being deleted; and the store's.
func (m *Manager) Update(ctx context.Context, name string, change func(*Deployment) error) (Deployment, error) {
	return ask(ctx, m, func() (Deployment, error) { return m.update(name, change) })
}

func (m *Manager) update(name string, change func(*Deployment) error) (Deployment, error) {
	d := m.deployments[name]
	switch {
	case d == nil:
		return Deployment{}, noDeployment(name)
	case d.Deleting:
		return Deployment{}, fault.New(fault.Precondition, "deployment %s is being deleted; it cannot be changed", name)
	}
	wanted := d.public()
	if err := change(&wanted); err != nil {
		return Deployment{}, err
	}
	changed := d.Deployment
	changed.Labels, changed.Spec = wanted.Labels, wanted.Spec
	switch {
	case changed.Spec.Model != d.Spec.Model:
		return Deployment{}, fault.BadField("spec.model", "is fixed (%s); create another deployment", d.Spec.Model)
	case changed.Spec.Engine != d.Spec.Engine:
		return Deployment{}, fault.BadField("spec.engine", "is fixed (%s); create another deployment", d.Spec.Engine)
	}
	if err := checkSpec(&changed.Spec); err != nil {
		return Deployment{}, err
	}
	if err := m.otherRecipe(&changed); err != nil {
		return Deployment{}, err
	}
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutDeployment(ctx, changed) }); err != nil {
		return Deployment{}, err
	}
	m.change(d, &changed)
	d.touch()
	m.rerouted = true // routes have limits of the spec
	m.reconcile(time.Now())
	return d.public(), nil
}

// Delete stops and removes a deployment's replicas; the deployment is gone
// when they are. Deleting it again changes nothing. Errors: NotFound and the
// store's.
func (m *Manager) Delete(ctx context.Context, name string) error {
	_, err := ask(ctx, m, func() (struct{}, error) { return struct{}{}, m.delete(name) })
	return err
}

func (m *Manager) delete(name string) error {
	d := m.deployments[name]
	switch {
	case d == nil:
		return noDeployment(name)
	case d.Deleting:
		return nil
	}
	going := d.Deployment
	going.Deleting = true
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutDeployment(ctx, going) }); err != nil {
		return err
	}
	d.Deleting = true
	d.touch()
	return nil
}

// Get answers a deployment with its replicas; NotFound.
func (m *Manager) Get(name string) (Deployment, error) {
	d, ok := m.published.Load().deployment(name)
	if !ok {
		return Deployment{}, noDeployment(name)
	}
	return d, nil
}

// List answers all deployments with their replicas, ordered by name. What it
// answers is shared and not to be changed.
func (m *Manager) List() []Deployment { return m.published.Load().deployments }

func noDeployment(name string) error {
	return fault.New(fault.NotFound, "there is no deployment %q", name)
}

// checkSpec says what is wrong with a spec, naming the field.
func checkSpec(s *Spec) error {
	switch {
	case s.Model == "":
		return fault.BadField("spec.model", "is empty; name a model as its engine does, for example qwen3:0.6b")
	case s.Engine != Ollama && s.Engine != VLLM && s.Engine != External:
		return fault.BadField("spec.engine", "is not an engine; use ollama, vllm or external")
	case s.Engine == External && s.Image != "":
		return fault.BadField("spec.image", "does not go with an external engine, which is not started by Orchion; leave it out")
	case s.Engine == External && len(s.Args) > 0:
		return fault.BadField("spec.args", "do not go with an external engine, which is not started by Orchion; leave them out")
	}
	if err := s.checkSize(); err != nil {
		return err
	}
	if err := s.checkOllama(); err != nil {
		return err
	}
	for i, text := range s.Constraints {
		if _, err := scheduler.ParseConstraint(text); err != nil {
			return fault.BadField(fmt.Sprintf("spec.constraints[%d]", i), "%v", err)
		}
	}
	return checkNodes(s.Nodes)
}

// checkNodes checks the ids of nodes that a deployment may run on.
func checkNodes(ids []string) error {
	if len(ids) > MaxNodes {
		return fault.BadField("spec.nodes", "has %d ids; at most %d are allowed", len(ids), MaxNodes)
	}
	for i, id := range ids {
		if _, err := scheduler.OnNodes([]string{id}); err != nil {
			return fault.BadField(fmt.Sprintf("spec.nodes[%d]", i), "%v", err)
		}
	}
	return nil
}

// sameSpec compares specs, an empty list being as good as none.
func sameSpec(a, b *Spec) bool {
	x, y := *a, *b
	same := slices.Equal(x.Args, y.Args) && slices.Equal(x.Constraints, y.Constraints) && slices.Equal(x.Tolerations, y.Tolerations) &&
		slices.Equal(x.Nodes, y.Nodes)
	x.Args, y.Args, x.Constraints, y.Constraints = nil, nil, nil, nil
	x.Tolerations, y.Tolerations, x.Nodes, y.Nodes = nil, nil, nil, nil
	return same && reflect.DeepEqual(x, y)
}

// isGone says whether an error says that what was to be deleted is not there.
func isGone(err error) bool {
	var e *fault.Error
	return errors.As(err, &e) && e.Code == fault.NotFound
}
