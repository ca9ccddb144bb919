package worker

import (
	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/registries"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Registries holds the credentials that the machine's owner keeps for image registries.
type Registries interface {
	// Current are those that there are now.
	Current() *registries.Credentials
}

// login is what the registry of a job's image is shown; nil: nothing.
func (a *attempt) login(container *orchionv1.ContainerSpec) (*driver.Login, error) {
	name := container.GetRegistryCredentials()
	if name == "" {
		return nil, nil //nolint:nilnil // without a login is not an error
	}
	held := &registries.Credentials{}
	if a.w.cfg.Registries != nil {
		held = a.w.cfg.Registries.Current()
	}
	login, err := held.Login(name, container.GetImage())
	if err != nil {
		// Another node may hold them, for this registry, or have the file in order.
		return nil, classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "%w", err)
	}
	return login, nil
}
