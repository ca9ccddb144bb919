package docker

import (
	"context"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// CreateVolume implements driver.Volumes.
func (d *Driver) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	const op = "create volume"
	if err := d.checkID(op, name); err != nil {
		return err
	}
	if err := driver.ValidateLabels(labels); err != nil {
		return d.invalid(op, name, err)
	}
	if _, err := d.cli.VolumeInspect(ctx, name); err == nil {
		return nil
	} else if !errdefs.IsNotFound(err) {
		return d.fail(ctx, op, name, err)
	}
	_, err := d.cli.VolumeCreate(ctx, volume.CreateOptions{Name: name, Driver: "local", Labels: managed(labels)})
	if err != nil && !errdefs.IsConflict(err) { // Conflict: someone else made it just now
		return d.fail(ctx, op, name, err)
	}
	return nil
}

// RemoveVolume implements driver.Volumes.
func (d *Driver) RemoveVolume(ctx context.Context, name string) error {
	const op = "remove volume"
	if err := d.checkID(op, name); err != nil {
		return err
	}
	if err := d.cli.VolumeRemove(ctx, name, false); err != nil && !errdefs.IsNotFound(err) {
		return d.fail(ctx, op, name, err)
	}
	return nil
}

// ListVolumes implements driver.Volumes.
func (d *Driver) ListVolumes(ctx context.Context, labels map[string]string) ([]driver.Volume, error) {
	found, err := d.cli.VolumeList(ctx, volume.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return nil, d.fail(ctx, "list volumes", "", err)
	}
	list := make([]driver.Volume, 0, len(found.Volumes))
	for _, v := range found.Volumes {
		// Podman 4 answers the volumes that have any of the labels, not all.
		if !hasLabels(v.Labels, labels) {
			continue
		}
		list = append(list, driver.Volume{Name: v.Name, Labels: v.Labels})
	}
	slices.SortFunc(list, func(a, b driver.Volume) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// hasLabels says whether a thing is ours and carries all the labels wanted, as labelFilter
// asks the engine.
func hasLabels(have, want map[string]string) bool {
	if have[driver.LabelManaged] != "true" {
		return false
	}
	for key, value := range want {
		if got, ok := have[key]; !ok || value != "" && got != value {
			return false
		}
	}
	return true
}
