package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// fakeManager keeps deployments, whose replicas a test moves on.
type fakeManager struct {
	mu      sync.Mutex // guards what follows
	all     []model.Deployment
	deleted []string
	refuse  error
}

func (f *fakeManager) List() []model.Deployment {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

func (f *fakeManager) Create(_ context.Context, wanted model.Deployment) (model.Deployment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return model.Deployment{}, f.refuse
	}
	wanted.Name, wanted.Wanted = model.NameOf(wanted.Spec.Model), wanted.Spec.Replicas
	f.all = append(f.all, wanted)
	return wanted, nil
}

func (f *fakeManager) Get(name string) (model.Deployment, error) {
	for _, d := range f.List() {
		if d.Name == name {
			return d, nil
		}
	}
	return model.Deployment{}, fault.New(fault.NotFound, "there is no deployment %q", name)
}

func (f *fakeManager) Delete(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, name)
	f.all = slices.DeleteFunc(f.all, func(d model.Deployment) bool { return d.Name == name })
	return nil
}

// set changes the only deployment's replica.
func (f *fakeManager) set(r model.Replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.ID, r.NodeID = "r1", "n1"
	f.all[0].Replicas = []model.Replica{r}
}

func pullRig(t *testing.T, f *fakeManager, routes fixedRoutes) *rig {
	t.Helper()
	return newRig(t, Config{Routes: routes, Deployments: f.List, Manager: f}, nil)
}

func TestOllamaPull(t *testing.T) {
	f := &fakeManager{}
	r := pullRig(t, f, nil)
	lines := bufio.NewScanner(r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"","name":"qwen3:0.6b"}`).Body)
	next := func() (p progress) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	until := func(what string, is func(progress) bool) {
		t.Helper()
		for {
			p := next()
			if p.Status == "success" {
				t.Fatalf("it is over before %s", what)
			}
			if is(p) {
				return
			}
		}
	}
	until("it begins", func(p progress) bool { return p.Status == "pulling manifest" })
	want := model.Spec{Model: "qwen3:0.6b", Engine: model.Ollama, Replicas: 1}
	if got := f.List(); len(got) != 1 || got[0].Spec.Model != want.Model || got[0].Spec.Engine != want.Engine || got[0].Spec.Replicas != 1 {
		t.Errorf("deployed is %+v", got)
	}
	f.set(model.Replica{State: model.Pulling, TotalBytes: 100, CompletedBytes: 40})
	digest := ""
	until("it is pulled", func(p progress) bool {
		digest = p.Digest
		return p.Total == 100 && p.Completed == 40 && len(p.Digest) == len("sha256:")+64 && strings.HasPrefix(p.Status, "pulling ")
	})
	f.set(model.Replica{State: model.Loading})
	until("it loads", func(p progress) bool { return p.Status == "loading on node n1" })
	f.set(model.Replica{State: model.Pulling, TotalBytes: 100, CompletedBytes: 90})
	until("it is pulled again", func(p progress) bool { return p.Digest == digest && p.Completed == 90 })
	f.set(model.Replica{State: model.Ready})
	if p := next(); p.Completed != 100 {
		t.Errorf("the bar ends at %+v", p)
	}
	if p := next(); p.Status != "success" {
		t.Errorf("it ends with %+v", p)
	}
	if lines.Scan() {
		t.Errorf("after its end: %s", lines.Text())
	}
	// Who pulls what is there need not wait.
	res := r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"qwen3:0.6b","stream":false}`)
	if got := readAll(t, res); got != `{"status":"success"}` || len(f.List()) != 1 {
		t.Errorf("a second pull: %s %s", res.Status, got)
	}
}

func TestOllamaPullThatFails(t *testing.T) {
	f := &fakeManager{}
	r := pullRig(t, f, nil)
	res := r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"nope"}`)
	lines := bufio.NewReader(res.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	f.set(model.Replica{State: model.Failed, Reason: "pull model manifest: file does not exist"})
	last := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		last = line
	}
	if want := `{"error":"failed on node n1: pull model manifest: file does not exist"}` + "\n"; last != want {
		t.Errorf("it ends with %q, want %q", last, want)
	}
	if !slices.Equal(f.deleted, []string{"nope"}) {
		t.Errorf("deleted is %v", f.deleted)
	}
	// What another made is left alone.
	f.all = []model.Deployment{{Name: "old", Wanted: 1, Spec: model.Spec{Model: "old", Replicas: 1}}}
	f.set(model.Replica{State: model.Failed, Reason: "no room"})
	checkOllamaError(t, r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"old","stream":false}`), 503, "failed on node n1: no room")
	if len(f.List()) != 1 {
		t.Error("a deployment that the pull did not make was deleted")
	}
	f.all, f.refuse = nil, fault.New(fault.AlreadyExists, "deployment nope exists and differs")
	checkOllamaError(t, r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"nope"}`), 409, "deployment nope exists and differs")
	f.refuse = fault.BadField("name", "is empty")
	checkOllamaError(t, r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"..."}`), 400, "name: is empty")
	checkOllamaError(t, r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"m","insecure":true}`), 400,
		"insecure must be false: nodes pull from registries whose certificates are right")
}

// A client that takes the end of a stream for success is told when it is none.
func TestOllamaPullThatIsEnded(t *testing.T) {
	f := &fakeManager{}
	r := pullRig(t, f, nil)
	ctx, cancel := context.WithCancel(t.Context())
	serve(t, r, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		both, stop := context.WithCancel(req.Context())
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		r.gateway.ServeHTTP(w, req.WithContext(both))
	}))
	lines := bufio.NewScanner(r.do(t, http.MethodPost, "/ollama/api/pull", `{"model":"m"}`).Body)
	lines.Scan()
	cancel()
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if want := `{"error":"nobody waits here any more; the model is deployed all the same"}`; last != want {
		t.Errorf("it ends with %s", last)
	}
	if len(f.List()) != 1 {
		t.Error("the deployment is gone")
	}
}

func TestOllamaDelete(t *testing.T) {
	f := &fakeManager{all: []model.Deployment{
		{Name: "a", Spec: model.Spec{Model: "m"}}, {Name: "b", Spec: model.Spec{Model: "m:latest"}}, {Name: "c", Spec: model.Spec{Model: "m:7b"}},
	}}
	r := pullRig(t, f, fixedRoutes{{Model: "adopted", NodeID: "n1", EngineEndpoint: "http://127.0.0.1:1", Engine: "ollama"}})
	if res := r.do(t, http.MethodDelete, "/ollama/api/delete", `{"name":"m"}`); res.StatusCode != http.StatusOK || readAll(t, res) != "" {
		t.Errorf("answered %s", res.Status)
	}
	if !slices.Equal(f.deleted, []string{"a", "b"}) {
		t.Errorf("deleted are %v", f.deleted)
	}
	checkOllamaError(t, r.do(t, http.MethodDelete, "/ollama/api/delete", `{"model":"m"}`), 404,
		`model not found: the model "m" does not exist; there is "adopted"`)
	checkOllamaError(t, r.do(t, http.MethodDelete, "/ollama/api/delete", `{"model":"adopted"}`), 409,
		`the model "adopted" is served by an engine on node n1 that Orchion did not start; remove it there`)
}
