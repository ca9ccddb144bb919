package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server plays Ollama in a fake container: the far side of these tests. Its models outlive
// the container, as a volume does.
type server struct {
	mu       sync.Mutex // guards what follows
	models   map[string]bool
	loaded   map[string]bool
	kept     map[string]any    // how long, as it was asked for
	made     []string          // what was asked for, without what it always has
	env      map[string]string // of the container that began last
	deleted  []string
	pulls    map[string][]string // lines of the answer, by model
	hang     bool                // do not end a pull
	loadFail string
}

func newServer() *server {
	success := func(layer string) []string {
		lines := []string{`{"status":"pulling manifest"}`}
		for done := 0; done <= 1000; done += 250 {
			lines = append(lines, fmt.Sprintf(`{"status":"pulling %s","digest":"sha256:%s","total":1000,"completed":%d}`, layer, layer, done))
		}
		return append(lines,
			`{"status":"pulling cfg","digest":"sha256:cfg`+layer+`","total":10,"completed":10}`,
			`{"status":"verifying sha256 digest"}`, `{"status":"writing manifest"}`, `{"status":"success"}`)
	}
	return &server{
		models: map[string]bool{}, loaded: map[string]bool{}, kept: map[string]any{}, env: map[string]string{},
		pulls: map[string][]string{
			"tiny:latest":  success("a"),
			"tiny2:latest": success("b"),
			"none:latest":  {`{"status":"pulling manifest"}`, `{"error":"pull model manifest: file does not exist"}`},
			"short:latest": {`{"status":"pulling manifest"}`},
		},
	}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"version":"0.6.5"}`) })
	list := func(w http.ResponseWriter, key, field string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		entries := []any{}
		for m := range s.models {
			entries = append(entries, map[string]string{field: m})
		}
		json.NewEncoder(w).Encode(map[string]any{key: entries})
	}
	mux.HandleFunc("GET /api/tags", func(w http.ResponseWriter, _ *http.Request) { list(w, "models", "name") })
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) { list(w, "data", "id") })
	mux.HandleFunc("POST /api/pull", s.pull)
	mux.HandleFunc("POST /api/generate", s.generate)
	mux.HandleFunc("POST /api/create", s.create)
	mux.HandleFunc("DELETE /api/delete", func(w http.ResponseWriter, r *http.Request) {
		var req struct{ Model string }
		json.NewDecoder(r.Body).Decode(&req)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.models[req.Model] {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		delete(s.models, req.Model)
		s.deleted = append(s.deleted, req.Model)
	})
	return mux
}

func (s *server) pull(w http.ResponseWriter, r *http.Request) {
	var req struct{ Model string }
	json.NewDecoder(r.Body).Decode(&req)
	s.mu.Lock()
	lines, hang := s.pulls[req.Model], s.hang
	s.mu.Unlock()
	for _, line := range lines {
		if hang && strings.Contains(line, `"completed":500`) {
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprintln(w, line)
		if strings.Contains(line, "success") {
			s.mu.Lock()
			s.models[req.Model] = true
			s.mu.Unlock()
		}
	}
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req struct{ Model, From, System string }
	json.Unmarshal(body, &req)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = append(s.made, string(body))
	switch {
	case !s.models[req.From]:
		fmt.Fprintln(w, `{"error":"no such base"}`)
	case req.System == "refuse":
		fmt.Fprintln(w, `{"error":"unknown parameter 'x'"}`)
	case req.System == "stop":
		fmt.Fprintln(w, `{"status":"using existing layer"}`)
	default:
		s.models[req.Model] = true
		fmt.Fprintf(w, "%s\n%s\n", `{"status":"using existing layer"}`, `{"status":"success"}`)
	}
}

func (s *server) generate(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Model     string
		KeepAlive any `json:"keep_alive"`
	}
	json.NewDecoder(r.Body).Decode(&req)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loadFail != "" {
		w.WriteHeader(http.StatusInternalServerError)
		json.NewEncoder(w).Encode(map[string]string{"error": s.loadFail})
		return
	}
	s.loaded[req.Model] = req.KeepAlive != 0.0
	s.kept[req.Model] = req.KeepAlive
}

// run is the container's program.
func (s *server) run(p *fake.Process) int {
	s.mu.Lock()
	for _, name := range []string{"OLLAMA_NUM_PARALLEL", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_KEEP_ALIVE"} {
		s.env[name] = p.Getenv(name)
	}
	s.mu.Unlock()
	l, err := p.Listen(port)
	if err != nil {
		fmt.Fprintln(p.Stderr(), err)
		return 1
	}
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(l)
	}()
	code := 137
	select {
	case <-p.Terminate():
		code = 0
	case <-p.Context().Done():
	}
	srv.Close()
	<-served
	return code
}

const node = "node-1"

// bench is a fake machine with a registry that has the image.
func bench(t *testing.T, s *server) *fake.Driver {
	t.Helper()
	d := fake.New(fake.Options{
		Info: driver.Info{GPUs: true},
		Programs: map[string]fake.Program{
			"/bin/ollama": s.run,
			"/bin/broken": func(p *fake.Process) int {
				fmt.Fprintln(p.Stderr(), "Error: no such flag")
				return 2
			},
		},
		Listen: true,
	})
	t.Cleanup(func() { d.Close() })
	img := fake.Image{Entrypoint: []string{"/bin/ollama"}, Cmd: []string{"serve"}}
	d.AddRemoteImage(DefaultImage, fake.RemoteImage{Image: img, SizeBytes: 4000, Steps: 4, Step: time.Millisecond})
	d.AddImage("broken", fake.Image{Entrypoint: []string{"/bin/broken"}})
	return d
}

func newEngine(t *testing.T, d driver.Driver, change func(*Config)) *Engine {
	t.Helper()
	cfg := Config{Driver: d, NodeID: node}
	if change != nil {
		change(&cfg)
	}
	e := New(cfg)
	t.Cleanup(e.Close)
	return e
}

func spec(id, model string) engine.Spec { return engine.Spec{ReplicaID: id, Model: model} }

func TestConformance(t *testing.T) {
	d := bench(t, newServer())
	enginetest.Run(t, enginetest.Target{
		New:  func(t *testing.T) engine.Engine { return newEngine(t, d, nil) },
		Spec: spec("r1", "tiny"), Second: spec("r2", "tiny2:latest"),
		Missing: spec("r3", "none"), MissingCode: engine.CodeModelNotFound,
		Driver: d, NodeID: node, Shared: true,
	})
}

func TestProgressCoversImageAndModel(t *testing.T) {
	s := newServer()
	e := newEngine(t, bench(t, s), nil)
	var reasons []string
	var last engine.Status
	_, err := e.Ensure(t.Context(), spec("r1", "tiny"), func(st engine.Status) {
		if len(reasons) == 0 || reasons[len(reasons)-1] != st.Reason {
			reasons = append(reasons, st.Reason)
		}
		last = st
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"looking for Ollama", "pulling image " + DefaultImage, "pulling model tiny:latest", "loading tiny:latest into memory", ""}
	got := slices.DeleteFunc(reasons, func(r string) bool { return r == "starting Ollama" }) // if it was not there at once
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if last.CompletedBytes != 4000+1010 || last.TotalBytes != 4000+1010 {
		t.Errorf("bytes = %d of %d, want those of image and model together", last.CompletedBytes, last.TotalBytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded["tiny:latest"] {
		t.Error("the model was not loaded to stay")
	}
}

func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		model  string
		image  string
		server func(*server)
		code   engine.Code
		want   []string
	}{
		{"missing model", "none", "", nil, engine.CodeModelNotFound,
			[]string{"pull model none:latest", "file does not exist", "ollama.com/library"}},
		{"answer ends early", "short", "", nil, engine.CodeUnavailable, []string{"pull model short:latest", "ended early"}},
		{"stalled", "tiny", "", func(s *server) { s.hang = true }, engine.CodeUnavailable, []string{"no progress for 100ms"}},
		{"too large", "tiny", "", func(s *server) {
			s.loadFail = "model requires more system memory (100.0 GiB) than is available (8.0 GiB)"
		}, engine.CodeNoResources, []string{"load model tiny:latest", "more system memory", "smaller model"}},
		{"server breaks", "tiny", "broken", nil, engine.CodeFailed, []string{"exit code 2", "no such flag"}},
		{"bad name", "../etc/passwd", "", nil, engine.CodeInvalid, []string{"model:", "../etc/passwd"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer()
			if tt.server != nil {
				tt.server(s)
			}
			e := newEngine(t, bench(t, s), func(c *Config) { c.StallTimeout = 100 * time.Millisecond })
			sp := spec("r1", tt.model)
			sp.Image = tt.image
			_, err := e.Ensure(t.Context(), sp, nil)
			if engine.CodeOf(err) != tt.code {
				t.Errorf("code = %s, want %s: %v", engine.CodeOf(err), tt.code, err)
			}
			for _, part := range tt.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v does not say %q", err, part)
				}
			}
		})
	}
}

func TestImageNotFound(t *testing.T) {
	e := newEngine(t, bench(t, newServer()), nil)
	sp := spec("r1", "tiny")
	sp.Image = "nobody/nothing"
	_, err := e.Ensure(t.Context(), sp, nil)
	if driver.CodeOf(err) != driver.CodeImageNotFound || !strings.Contains(err.Error(), "nobody/nothing") {
		t.Errorf("error = %v", err)
	}
}

func TestEngineGone(t *testing.T) {
	d := bench(t, newServer())
	e := newEngine(t, d, nil)
	d.SetDown(errors.New("socket closed"))
	_, err := e.Ensure(t.Context(), spec("r1", "tiny"), nil)
	d.SetDown(nil)
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() || !strings.Contains(err.Error(), "socket closed") {
		t.Errorf("error = %v, want a temporary one", err)
	}
}

// TestDeleteModel: files go only with DeleteModel, and only when nobody else serves them.
func TestDeleteModel(t *testing.T) {
	s := newServer()
	e := newEngine(t, bench(t, s), nil)
	first, same, other := spec("r1", "tiny"), spec("r2", "library/tiny:latest"), spec("r3", "tiny2")
	for _, sp := range []engine.Spec{first, same, other} {
		if _, err := e.Ensure(t.Context(), sp, nil); err != nil {
			t.Fatal(err)
		}
	}
	deleted := func() []string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.deleted)
	}
	for _, step := range []struct {
		spec engine.Spec
		opts engine.RemoveOptions
		want []string
	}{
		{first, engine.RemoveOptions{DeleteModel: true}, nil},
		{same, engine.RemoveOptions{DeleteModel: true}, []string{"tiny:latest"}},
		{other, engine.RemoveOptions{}, []string{"tiny:latest"}},
	} {
		if err := e.Remove(t.Context(), step.spec, step.opts); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, deleted()); diff != "" {
			t.Errorf("deleted after removing %s:\n%s", step.spec.ReplicaID, diff)
		}
	}
}

// TestPull: a model comes without being loaded, and only what serves stays.
func TestPull(t *testing.T) {
	s := newServer()
	d := bench(t, s)
	e := newEngine(t, d, nil)
	containers := func() int {
		list, err := d.List(t.Context(), map[string]string{engine.LabelNode: node})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	var last engine.Status
	if err := e.Pull(t.Context(), spec("pull-1", "tiny"), func(st engine.Status) { last = st }); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	if !s.models["tiny:latest"] || s.loaded["tiny:latest"] {
		t.Errorf("it has %v and %v are loaded", s.models, s.loaded)
	}
	s.mu.Unlock()
	if last.State != engine.StateReady || last.CompletedBytes != 4000+1010 || containers() != 0 {
		t.Errorf("it ends with %+v and %d containers", last, containers())
	}
	if err := e.Pull(t.Context(), spec("pull-2", "none"), nil); engine.CodeOf(err) != engine.CodeModelNotFound || containers() != 0 {
		t.Errorf("a model that there is not: %v, %d containers", err, containers())
	}
	if err := e.Pull(t.Context(), spec("pull-3", "a b"), nil); engine.CodeOf(err) != engine.CodeInvalid {
		t.Errorf("a name that is none: %v", err)
	}
	served, err := e.Ensure(t.Context(), spec("r1", "tiny2"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Pull(t.Context(), spec("pull-4", "tiny"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Pull(t.Context(), spec("pull-5", "tiny2"), nil); err != nil {
		t.Fatal(err)
	}
	again, err := e.Ensure(t.Context(), spec("r1", "tiny2"), nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || again != served || !s.loaded["tiny2:latest"] {
		t.Errorf("what was served is now %+v, %v; it was %+v", again, err, served)
	}
}

// TestGPUsOfItsOwn: a replica that was given GPUs is served by a container that has those
// and no other, beside the one that all others share.
func TestGPUsOfItsOwn(t *testing.T) {
	s := newServer()
	d := bench(t, s)
	e := newEngine(t, d, nil)
	shared, own := spec("r1", "tiny"), spec("r2", "tiny")
	own.GPUs.IDs = []string{"GPU-2", "GPU-1"}
	ids := map[string]string{}
	for _, sp := range []engine.Spec{shared, own} {
		r, err := e.Ensure(t.Context(), sp, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids[sp.ReplicaID] = r.ContainerID
	}
	if ids["r1"] == ids["r2"] {
		t.Fatal("both are served by one container")
	}
	want, err := e.container(t.Context(), DefaultImage, own)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(driver.GPURequest{IDs: []string{"GPU-1", "GPU-2"}}, want.Spec.GPUs); diff != "" {
		t.Error(diff)
	}
	if err := e.Prune(t.Context(), []engine.Spec{shared, own}); err != nil {
		t.Fatal(err)
	}
	// The files of the model are the other's as well.
	if err := e.Remove(t.Context(), own, engine.RemoveOptions{DeleteModel: true}); err != nil {
		t.Fatal(err)
	}
	if len(s.deleted) > 0 {
		t.Errorf("deleted %v, which another container serves", s.deleted)
	}
	if err := e.Check(t.Context(), shared); err != nil {
		t.Errorf("the shared one: %v", err)
	}
	if err := e.Check(t.Context(), own); err == nil {
		t.Error("the removed one is still served")
	}
}

// TestOtherNodes: two nodes on one container engine leave each other alone.
func TestOtherNodes(t *testing.T) {
	d := bench(t, newServer())
	mine := newEngine(t, d, nil)
	theirs := newEngine(t, d, func(c *Config) { c.NodeID = "node-2" })
	a, err := mine.Ensure(t.Context(), spec("r1", "tiny"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := theirs.Ensure(t.Context(), spec("r2", "tiny"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.ContainerID == b.ContainerID {
		t.Error("two nodes share a container")
	}
	if err := mine.Prune(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := mine.Remove(t.Context(), spec("r1", "tiny"), engine.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Check(context.Background(), spec("r2", "tiny")); err != nil {
		t.Errorf("the other node's replica: %v", err)
	}
	if volumes, err := d.ListVolumes(t.Context(), nil); err != nil || len(volumes) != 2 {
		t.Errorf("volumes = %v, %v, want one for each node", volumes, err)
	}
}

func TestNames(t *testing.T) {
	for model, want := range map[string]string{
		"qwen3":                          "qwen3:latest",
		"qwen3:0.6b":                     "qwen3:0.6b",
		"library/qwen3":                  "qwen3:latest",
		"registry.ollama.ai/library/q:1": "q:1",
		"me/model":                       "me/model:latest",
		"hf.co/o/n-GGUF:Q4_K_M":          "hf.co/o/n-GGUF:Q4_K_M",
		"localhost:5000/library/tiny":    "localhost:5000/library/tiny:latest",
	} {
		if err := validateModel(model); err != nil {
			t.Errorf("validateModel(%q): %v", model, err)
		}
		if got := canonical(model); got != want {
			t.Errorf("canonical(%q) = %q, want %q", model, got, want)
		}
	}
	for _, model := range []string{"", "a b", "../x", "a/../b", "/x", "a:b:c", "a/b/c/d", "x\n", "http://x/y"} {
		if err := validateModel(model); err == nil || !strings.Contains(err.Error(), "model:") {
			t.Errorf("validateModel(%q): %v", model, err)
		}
	}
	if !insecure("localhost:5000/library/tiny") || insecure("hf.co/o/n") || insecure("tiny") {
		t.Error("insecure is for registries on loopback, and for them only")
	}
}

func TestLayersNeverFall(t *testing.T) {
	var l layers
	var last float64
	for _, e := range []pullEvent{
		{Digest: "a", Total: 1000}, {Digest: "a", Total: 1000, Completed: 900},
		{Digest: "a", Total: 1000, Completed: 100}, // Ollama starts a part anew
		{Digest: "b", Total: 10, Completed: 10}, {Digest: "a", Total: 1000, Completed: 1000},
	} {
		l.add(e)
		if l.completed > l.total {
			t.Errorf("%d of %d", l.completed, l.total)
		}
		last = l.percent()
	}
	if l.completed != 1010 || l.total != 1010 || last != 99 {
		t.Errorf("%d of %d, %v%%", l.completed, l.total, last)
	}
}
