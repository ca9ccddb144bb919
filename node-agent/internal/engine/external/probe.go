package external

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
)

// WellKnownPorts are where engines listen by default: Ollama, vLLM (also SGLang's older
// ones), LM Studio, llama-server and LocalAI, SGLang.
func WellKnownPorts() []int { return []int{11434, 8000, 1234, 8080, 30000} }

// ErrOrchion says that what answers is an orchestrator of ours. Its gateway looks like an
// engine, and adopting it would send requests in a circle.
var ErrOrchion = errors.New("this is an Orchion orchestrator, not an engine")

// identifyTimeout bounds each question to a server.
const identifyTimeout = 2 * time.Second

// maxModels bounds how many models of one server are taken over.
const maxModels = 1000

// Identify asks the server at a base URL, such as "http://127.0.0.1:11434", with or without
// "/v1" at its end, what it is and serves.
func Identify(ctx context.Context, client *http.Client, endpoint string) (engine.Local, error) {
	base, err := baseURL(endpoint)
	if err != nil {
		return engine.Local{}, err
	}
	p := prober{ctx: ctx, client: client, base: base}
	local := engine.Local{Name: "openai", Endpoint: base}

	// Ollama and our orchestrator answer the same path; others have none there.
	var version struct{ Name, Version string }
	versionErr := p.get("/api/version", &version)
	switch {
	case versionErr == nil && version.Name == "orchion":
		return engine.Local{}, fmt.Errorf("%s: %w", base, ErrOrchion)
	case versionErr == nil && version.Version != "":
		local.Name, local.Version = "ollama", version.Version
	}

	var models struct {
		Data []struct {
			ID      string `json:"id"`
			OwnedBy string `json:"owned_by"`
		} `json:"data"`
	}
	if err := p.get("/v1/models", &models); err != nil {
		return engine.Local{}, fmt.Errorf("%s: ask for its models: %w", base, err)
	}
	owners := map[string]bool{}
	for _, m := range models.Data {
		owners[m.OwnedBy] = true
		if m.ID != "" && len(local.Models) < maxModels {
			local.Models = append(local.Models, m.ID)
		}
	}
	if owners["orchion"] {
		return engine.Local{}, fmt.Errorf("%s: %w", base, ErrOrchion)
	}
	slices.Sort(local.Models)
	if local.Name == "openai" {
		p.name(&local, owners)
	}
	return local, nil
}

type prober struct {
	ctx    context.Context
	client *http.Client
	base   string
}

func (p *prober) get(path string, v any) error {
	ctx, cancel := context.WithTimeout(p.ctx, identifyTimeout)
	defer cancel()
	return hosting.GetJSON(ctx, p.client, p.base+path, v)
}

// name tells the engines with an OpenAI API apart: by whom they say the models are owned
// by, and by paths of their own.
func (p *prober) name(local *engine.Local, owners map[string]bool) {
	var version struct{ Version string }
	var greeting struct{ LMStudio bool }
	var props struct {
		BuildInfo string `json:"build_info"`
	}
	switch {
	case owners["vllm"]:
		local.Name = "vllm"
		if p.get("/version", &version) == nil {
			local.Version = version.Version
		}
	case owners["sglang"]:
		local.Name = "sglang"
	case owners["llamacpp"]:
		local.Name = "llama-server"
		if p.get("/props", &props) == nil {
			local.Version = props.BuildInfo
		}
	case p.get("/lmstudio-greeting", &greeting) == nil && greeting.LMStudio:
		local.Name = "lmstudio"
	case p.get("/version", &version) == nil && strings.HasPrefix(version.Version, "v"):
		// LocalAI answers {"version": "v2.20.1 (commit)"}.
		local.Name = "localai"
		local.Version, _, _ = strings.Cut(version.Version, " ")
	}
}

// baseURL checks an endpoint and takes off what follows the host.
func baseURL(endpoint string) (string, error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("endpoint: %q must look like http://127.0.0.1:11434", endpoint)
	}
	path := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1"), "/")
	return u.Scheme + "://" + u.Host + path, nil
}

// Probe asks the given ports of 127.0.0.1, all at once, and returns the engines among them,
// in the order of the ports. exclude lists ports that are our own: the orchestrator's and
// those that our containers publish.
func Probe(ctx context.Context, client *http.Client, ports []int, exclude func(port int) bool) []engine.Local {
	found := make([]*engine.Local, len(ports))
	var wg sync.WaitGroup
	for i, port := range ports {
		if exclude != nil && exclude(port) {
			continue
		}
		wg.Go(func() {
			// An error only means that there is no engine: that is the usual case.
			if local, err := Identify(ctx, client, fmt.Sprintf("http://127.0.0.1:%d", port)); err == nil {
				found[i] = &local
			}
		})
	}
	wg.Wait()
	var locals []engine.Local
	for _, local := range found {
		if local != nil {
			locals = append(locals, *local)
		}
	}
	return locals
}
