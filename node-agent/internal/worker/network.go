package worker

import (
	"context"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// borrowNetwork lets the container join a network that is ready, if there is one.
func (a *attempt) borrowNetwork(spec *orchionv1.JobSpec, wanted *driver.ContainerSpec) {
	if a.w.cfg.Networks == nil || spec.GetContainer() == nil || wanted.Network != "" {
		return
	}
	a.network = a.w.cfg.Networks.Lend(a.work)
	if id := a.network.ID(); id != "" {
		wanted.Network = driver.NetworkOf(id)
		wanted.Labels[labelNetwork] = id
	}
}

// takeOverNetwork is for a container that an earlier run of the agent has made.
func (a *attempt) takeOverNetwork(id string) {
	if a.w.cfg.Networks != nil && id != "" {
		a.network, a.foundNetwork = a.w.cfg.Networks.TakeOver(id), id
	}
}

// withoutNetwork gives up the network that was lent when the container could not be started,
// for that may be what was wrong, and says whether it is worth another try without.
func (a *attempt) withoutNetwork(wanted *driver.ContainerSpec, err error) bool {
	if a.network == nil || a.network.ID() == "" || a.work.Err() != nil || temporary(err) {
		return false
	}
	switch driver.CodeOf(err) {
	case driver.CodeConflict, driver.CodeNotFound, driver.CodeInternal:
	default:
		return false // that has nothing to do with it
	}
	if a.containerID != "" {
		// It must not run twice.
		c, err := a.engine.Inspect(a.w.root, a.containerID)
		if err != nil || c.State != driver.StateCreated {
			return false
		}
		if err := a.engine.Remove(a.w.root, a.containerID); err != nil {
			return false
		}
		a.containerID = ""
	}
	a.w.cfg.Logger.Info("an attempt is started on a network of its own: the one that was ready cannot be used",
		"job", a.key.jobID, "attempt", a.key.attempt, "error", err)
	a.network.Discard()
	wanted.Network = ""
	delete(wanted.Labels, labelNetwork)
	return true
}

// leaveNetwork lets another job have the network once the container has ended. What shares a
// volume with other jobs may have left a socket or an open file there, which lead into the
// network from outside, so that its network is given to nobody.
func (a *attempt) leaveNetwork(spec *orchionv1.JobSpec) {
	if a.network != nil {
		a.network.Ended(a.hold, len(spec.GetContainer().GetVolumes()) == 0)
	}
}

// closeNetwork gives the network up, if there is one. The container must be gone.
func (a *attempt) closeNetwork(ctx context.Context) {
	if a.network == nil {
		return
	}
	if err := a.network.Close(ctx); err == nil {
		a.network = nil
	}
}
