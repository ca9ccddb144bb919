package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// networkName names the bridge of a profile's containers. Jobs and inference engines each
// have their own, which the engine keeps apart: a job is to reach models through the
// gateway alone.
func networkName(p driver.Profile) string {
	if p == driver.ProfileEngine {
		return "orchion-engines"
	}
	return "orchion-jobs"
}

// networkMode gives the network of a valid spec in the engine's terms. It creates
// the profile's network when it is not there.
func (d *Driver) networkMode(ctx context.Context, spec driver.ContainerSpec) (container.NetworkMode, error) {
	if spec.Network != "" {
		return container.NetworkMode(spec.Network), nil
	}
	const op = "find network"
	name := networkName(spec.Profile)
	for range 2 {
		id, err := d.findNetwork(ctx, name)
		if err != nil {
			return "", d.fail(ctx, op, name, err)
		}
		if id != "" {
			return container.NetworkMode(id), nil
		}
		create := d.createDockerNetwork
		if d.podman() {
			create = d.createPodmanNetwork
		}
		// A conflict is another agent of this machine that was quicker, or a network of
		// that name that is not ours; the second look tells.
		if err := create(ctx, name); err != nil && !errdefs.IsConflict(err) {
			return "", d.networkFailure(ctx, name, err)
		}
	}
	return "", &driver.Error{
		Code: driver.CodeConflict, Engine: d.name, Op: op, Subject: name,
		Err:  errors.New("a network of that name exists that Orchion did not make, and may not keep its containers apart"),
		Hint: "remove it: " + d.name + " network rm " + name,
	}
}

// findNetwork gives what to call our network of that name, "" when there is none.
func (d *Driver) findNetwork(ctx context.Context, name string) (string, error) {
	if d.podman() {
		n, err := d.podmanNetwork(ctx, name)
		if err != nil || !hasLabels(n.Labels, nil) {
			return "", err
		}
		return name, nil
	}
	list, err := d.cli.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return "", err
	}
	// Docker may have two, of agents that made one at the same moment: the older is
	// everybody's, and its id tells it from the other.
	var found network.Summary
	for _, n := range list {
		if n.Name == name && hasLabels(n.Labels, nil) && (found.ID == "" || n.Created.Before(found.Created)) {
			found = n
		}
	}
	return found.ID, nil
}

// optionMTU is Docker's name for a bridge's largest packet.
const optionMTU = "com.docker.network.driver.mtu"

// createDockerNetwork creates a bridge. Docker keeps all bridges apart from each other; with
// icc off it keeps the containers of this one apart as well.
func (d *Driver) createDockerNetwork(ctx context.Context, name string) error {
	options := map[string]string{"com.docker.network.bridge.enable_icc": "false"}
	// Whoever set another MTU for containers did so for the default bridge, and Docker
	// gives it to no other.
	if standard, err := d.cli.NetworkInspect(ctx, "bridge", network.InspectOptions{}); err == nil {
		if mtu := standard.Options[optionMTU]; mtu != "" {
			options[optionMTU] = mtu
		}
	}
	_, err := d.cli.NetworkCreate(ctx, name, network.CreateOptions{Driver: "bridge", Options: options, Labels: managed(nil)})
	return err
}

const podmanNetworks = "/v4.0.0/libpod/networks/"

// podmanNetwork is a network as Podman's own API describes it.
type podmanNetwork struct {
	Name    string            `json:"name"`
	Driver  string            `json:"driver"`
	DNS     bool              `json:"dns_enabled"`
	Labels  map[string]string `json:"labels"`
	Options map[string]string `json:"options"`
}

// isolated says whether it reaches no other network that is isolated too.
func (n podmanNetwork) isolated() bool { return n.Options["isolate"] == "true" }

// podmanNetwork gives the network of that name, the zero value when there is none.
func (d *Driver) podmanNetwork(ctx context.Context, name string) (podmanNetwork, error) {
	var n podmanNetwork
	err := d.callPodman(ctx, http.MethodGet, podmanNetworks+name+"/json", nil, &n)
	if errdefs.IsNotFound(err) {
		return n, nil
	}
	return n, err
}

// createPodmanNetwork creates a bridge that reaches no other one that is isolated too. It
// asks Podman's own API: through Docker's the network would get a name server, which is not
// installed everywhere and nothing here needs.
func (d *Driver) createPodmanNetwork(ctx context.Context, name string) error {
	return d.callPodman(ctx, http.MethodPost, podmanNetworks+"create", podmanNetwork{
		Name: name, Driver: "bridge", Labels: managed(nil), Options: map[string]string{"isolate": "true"},
	}, nil)
}

// checkIsolation is called before a container is started, which is when Podman makes its
// rules. Podman 4.3 forgets that a network is isolated as soon as anybody lists networks
// through Docker's API: the answer is to leave that option out, and is written into what
// Podman has in memory (convertLibpodNetworktoDockerNetwork). It reads its files again
// when another network was made.
func (d *Driver) checkIsolation(ctx context.Context) error {
	if !d.podman() {
		return nil
	}
	for _, profile := range []driver.Profile{driver.ProfileJob, driver.ProfileEngine} {
		name := networkName(profile)
		n, err := d.podmanNetwork(ctx, name)
		if err != nil {
			return d.fail(ctx, "check network", name, err)
		}
		if n.Name == "" || n.isolated() {
			continue
		}
		if err := d.reloadPodmanNetworks(ctx); err != nil {
			return d.fail(ctx, "reload network", name, err)
		}
		if n, err = d.podmanNetwork(ctx, name); err != nil {
			return d.fail(ctx, "check network", name, err)
		}
		if !n.isolated() {
			return &driver.Error{
				Code: driver.CodeConflict, Engine: d.name, Op: "check network", Subject: name,
				Err:  errors.New("it does not keep its containers apart from others"),
				Hint: "remove it, and a new one will be made: podman network rm " + name,
			}
		}
	}
	return nil
}

func (d *Driver) reloadPodmanNetworks(ctx context.Context) error {
	name := "orchion-reload-" + rand.Text()
	if err := d.createPodmanNetwork(ctx, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return d.callPodman(ctx, http.MethodDelete, podmanNetworks+name, nil, nil)
}

func (d *Driver) networkFailure(ctx context.Context, name string, err error) error {
	failure := d.fail(ctx, "create network", name, err)
	var e *driver.Error
	if !errors.As(failure, &e) {
		return failure
	}
	switch text := err.Error(); {
	case strings.Contains(text, "address pool"), strings.Contains(text, "subnet"):
		e.Hint = "all of its address ranges are taken: remove networks that nothing uses with " + d.name + " network prune"
	case strings.Contains(text, "isolate"):
		e.Code = driver.CodeUnsupported
		e.Hint = "it runs with CNI, which cannot keep networks apart: install netavark and set network_backend = \"netavark\" in containers.conf"
	}
	return failure
}

// callPodman asks what only Podman's own API, or its additions to Docker's, can answer.
// Neither question nor answer need be there.
func (d *Driver) callPodman(ctx context.Context, method, path string, question, answer any) error {
	var body bytes.Buffer
	if question != nil {
		if err := json.NewEncoder(&body).Encode(question); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://podman"+path, &body)
	if err != nil {
		return err
	}
	if host, ok := strings.CutPrefix(d.endpoint, "tcp://"); ok {
		req.URL.Host = host
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.cli.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= http.StatusBadRequest:
		return podmanFailure(resp, data)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(data, answer)
}

func podmanFailure(resp *http.Response, body []byte) error {
	var failure struct{ Message string }
	if json.Unmarshal(body, &failure) != nil || failure.Message == "" {
		failure.Message = resp.Status
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		return errdefs.ErrNotFound.WithMessage(failure.Message)
	case http.StatusConflict:
		return errdefs.ErrConflict.WithMessage(failure.Message)
	}
	return errors.New(failure.Message)
}
