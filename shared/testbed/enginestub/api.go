package enginestub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types"
	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	dockernetwork "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
)

const apiVersion = "1.41"

// handler is the API. Every image is there.
func (e *Engine) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", apiVersion)
			if e.wait(r.Context()) {
				f(w, r)
			}
		})
	}
	handle("/_ping", func(http.ResponseWriter, *http.Request) {})
	for _, prefix := range []string{"", "/{version}"} {
		handle("GET "+prefix+"/version", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, types.Version{
				Version: "0.0.0-stub", APIVersion: apiVersion, Os: "linux", Arch: "amd64",
				Components: []types.ComponentVersion{{Name: "Engine", Version: "0.0.0-stub"}},
			})
		})
	}
	handle("GET /{version}/info", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, system.Info{OSType: "linux", Architecture: "x86_64", InitCommit: system.Commit{ID: "stub"}})
	})
	handle("GET /{version}/images/{name...}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, image.InspectResponse{ID: "sha256:" + strings.Repeat("0", 64), RepoTags: []string{strings.TrimSuffix(r.PathValue("name"), "/json")}})
	})
	handle("GET /{version}/networks", e.listNetworks)
	handle("GET /{version}/networks/{name}", refuse(http.StatusNotFound, "no such network"))
	handle("POST /{version}/networks/create", e.createNetwork)
	handle("GET /{version}/volumes", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"Volumes": []any{}}) })
	handle("GET /{version}/containers/json", e.listContainers)
	handle("POST /{version}/containers/create", e.createContainer)
	handle("POST /{version}/containers/{id}/start", e.withContainer(e.startContainer))
	handle("POST /{version}/containers/{id}/attach", e.withContainer(e.attachContainer))
	handle("POST /{version}/containers/{id}/stop", e.withContainer(e.stopContainer))
	handle("POST /{version}/containers/{id}/kill", e.withContainer(e.killContainer))
	handle("POST /{version}/containers/{id}/wait", e.withContainer(e.waitContainer))
	handle("GET /{version}/containers/{id}/json", e.withContainer(e.inspectContainer))
	handle("GET /{version}/containers/{id}/logs", e.withContainer(e.readLogs))
	handle("DELETE /{version}/containers/{id}", e.withContainer(e.removeContainer))
	handle("/", refuse(http.StatusNotImplemented, "the stub does not do that"))
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller may have left
}

func fail(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": fmt.Sprintf(format, args...)}) // the caller may have left
}

func refuse(status int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fail(w, status, "%s", message) }
}

func (e *Engine) withContainer(f func(http.ResponseWriter, *http.Request, *container)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := e.find(r.PathValue("id"))
		if c == nil {
			fail(w, http.StatusNotFound, "No such container: %s", r.PathValue("id"))
			return
		}
		f(w, r, c)
	}
}

func (e *Engine) createContainer(w http.ResponseWriter, r *http.Request) {
	var request dockercontainer.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request.Config == nil {
		fail(w, http.StatusBadRequest, "no configuration: %v", err)
		return
	}
	p, err := program{holder: true}, error(nil)
	if !isHolder(request.Entrypoint) {
		p, err = parse(request.Cmd)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	if request.HostConfig != nil {
		p.network = request.HostConfig.NetworkMode.ConnectedContainer()
	}
	c := e.add(r.URL.Query().Get("name"), p, request.Labels, request.Image)
	if c == nil {
		fail(w, http.StatusConflict, "the container name %q is already in use", r.URL.Query().Get("name"))
		return
	}
	w.WriteHeader(http.StatusCreated)
	answer(w, dockercontainer.CreateResponse{ID: c.id})
}

func (e *Engine) startContainer(w http.ResponseWriter, _ *http.Request, c *container) {
	if err := e.join(c); err != nil {
		fail(w, http.StatusConflict, "%v", err)
		return
	}
	switch {
	case c.start():
		w.WriteHeader(http.StatusNoContent)
	case c.state() == "running":
		w.WriteHeader(http.StatusNotModified)
	default:
		fail(w, http.StatusConflict, "the stub starts a container once")
	}
}

func (e *Engine) stopContainer(w http.ResponseWriter, r *http.Request, c *container) {
	if c.state() != "running" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	c.stop()
	seconds, err := strconv.Atoi(r.URL.Query().Get("t"))
	if err != nil {
		seconds = 10
	}
	grace := time.NewTimer(time.Duration(seconds) * time.Second)
	defer grace.Stop()
	select {
	case <-c.ended:
	case <-grace.C:
		c.kill(killedCode)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *Engine) killContainer(w http.ResponseWriter, _ *http.Request, c *container) {
	if c.state() != "running" {
		fail(w, http.StatusConflict, "container %s is not running", c.id)
		return
	}
	c.kill(killedCode)
	w.WriteHeader(http.StatusNoContent)
}

func (e *Engine) waitContainer(w http.ResponseWriter, r *http.Request, c *container) {
	if c.state() == "created" {
		answer(w, dockercontainer.WaitResponse{})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).Flush() // the client waits for the header
	select {
	case <-c.ended:
	case <-r.Context().Done():
		return
	}
	c.mu.Lock()
	code := c.code
	c.mu.Unlock()
	answer(w, dockercontainer.WaitResponse{StatusCode: int64(code)})
}

func (e *Engine) inspectContainer(w http.ResponseWriter, _ *http.Request, c *container) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer(w, dockercontainer.InspectResponse{
		ContainerJSONBase: &dockercontainer.ContainerJSONBase{
			ID: c.id, Name: "/" + c.name, Created: stamp(c.created), Image: c.image,
			State: &dockercontainer.State{
				Status: c.stateLocked(), Running: c.stateLocked() == "running", ExitCode: c.code,
				StartedAt: stamp(c.startedAt), FinishedAt: stamp(c.finishedAt),
			},
		},
		Config:          &dockercontainer.Config{Image: c.image, Labels: c.labels, OpenStdin: c.program.holder},
		NetworkSettings: &dockercontainer.NetworkSettings{},
	})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (e *Engine) readLogs(w http.ResponseWriter, r *http.Request, c *container) {
	follow := r.URL.Query().Get("follow") == "1"
	w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	for at := 0; ; {
		frames, over, changed := c.logFrom(at)
		if _, err := w.Write(frames); err != nil {
			return
		}
		at += len(frames)
		if err := flush.Flush(); err != nil || !follow || over && len(frames) == 0 {
			return
		}
		if over {
			continue
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (e *Engine) removeContainer(w http.ResponseWriter, _ *http.Request, c *container) {
	c.kill(killedCode)
	e.remove(c)
	w.WriteHeader(http.StatusNoContent)
}

func (e *Engine) listContainers(w http.ResponseWriter, r *http.Request) {
	wanted, err := filters.FromJSON(r.URL.Query().Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "filters: %v", err)
		return
	}
	list := []dockercontainer.Summary{}
	for _, c := range e.all() {
		if !wanted.MatchKVList("label", c.labels) {
			continue
		}
		list = append(list, dockercontainer.Summary{
			ID: c.id, Names: []string{"/" + c.name}, Image: c.image, Labels: c.labels, Created: c.created.Unix(), State: c.state(),
		})
	}
	answer(w, list)
}

func (e *Engine) listNetworks(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	list := []dockernetwork.Summary{}
	for _, n := range e.networks {
		list = append(list, dockernetwork.Summary{ID: n.id, Name: n.name, Labels: n.labels, Created: n.created})
	}
	e.mu.Unlock()
	answer(w, list)
}

func (e *Engine) createNetwork(w http.ResponseWriter, r *http.Request) {
	var request dockernetwork.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, taken := e.networks[request.Name]; taken {
		fail(w, http.StatusConflict, "network with name %s already exists", request.Name)
		return
	}
	n := network{id: newID(), name: request.Name, labels: request.Labels, created: time.Now()}
	e.networks[n.name] = n
	w.WriteHeader(http.StatusCreated)
	answer(w, dockernetwork.CreateResponse{ID: n.id})
}
