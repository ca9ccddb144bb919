package docker

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/image"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// ListImages implements driver.Images.
func (d *Driver) ListImages(ctx context.Context) ([]string, error) {
	list, err := d.cli.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, d.fail(ctx, "list images", "", err)
	}
	slices.SortStableFunc(list, func(a, b image.Summary) int { return cmp.Compare(b.Created, a.Created) })
	var names []string
	add := func(text string) {
		if full, err := driver.NormalizeReference(text); err == nil && !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	for _, i := range list {
		for _, text := range append(slices.Clone(i.RepoTags), i.RepoDigests...) {
			// An image without a name has such parts.
			if strings.Contains(text, "<none>") {
				continue
			}
			add(text)
			// What was built here on Podman is found without the registry too.
			if short, local := strings.CutPrefix(text, "localhost/"); local && d.podman() {
				add(short)
			}
		}
	}
	return names, nil
}
