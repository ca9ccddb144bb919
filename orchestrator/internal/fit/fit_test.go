package fit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/shared/modelfit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gib is one GiB.
const gib = 1 << 30

// eight is a model like Llama 3.1 8B in Q4_K_M.
var eight = modelfit.Model{
	Source: "test", Architecture: "llama", WeightBytes: 4920 << 20, CacheValues: 32 * 8 * 256, Layers: 32, ContextLength: 131072,
}

// space is a connected node with that much free.
func space(id string, memory int64, gpus ...scheduler.GPUSpace) scheduler.Space {
	return scheduler.Space{
		Node: &node.Node{ID: id, Hostname: "host-" + id, Capabilities: node.Capabilities{
			MemoryBytes: 64 * gib, Runtimes: []node.Runtime{{Name: "docker"}},
		}},
		Connected: true, MemoryBytes: memory, GPUs: gpus,
	}
}

func gpu(name string, free, total int64) scheduler.GPUSpace {
	return scheduler.GPUSpace{Model: name, Vendor: "nvidia", FreeBytes: free, TotalBytes: total}
}

// nodes answer what they are asked about models; answer gets the node and what it was
// asked.
type nodes struct {
	mu     sync.Mutex // guards asked
	asked  []string
	answer func(nodeID string, r *http.Request) (status int, body string)
}

func (n *nodes) dial(_ context.Context, nodeID string, target tunnel.Target) (net.Conn, error) {
	if !target.ModelFiles {
		return nil, errors.New("not about models")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		req, err := http.ReadRequest(bufio.NewReader(far))
		if err != nil {
			return
		}
		n.mu.Lock()
		n.asked = append(n.asked, nodeID)
		n.mu.Unlock()
		status, body := n.answer(nodeID, req)
		fmt.Fprintf(far, "HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}()
	return near, nil
}

func says(m modelfit.Model) func(string, *http.Request) (int, string) {
	return func(string, *http.Request) (int, string) {
		data, _ := json.Marshal(m) // of numbers and texts
		return http.StatusOK, string(data)
	}
}

func fitter(n *nodes, spaces []scheduler.Space, deployments ...model.Deployment) *Fitter {
	return New(Config{
		Space:       func() []scheduler.Space { return spaces },
		Deployments: func() []model.Deployment { return deployments },
		Dial:        n.dial,
		Measured: func(of func(string) bool) map[string]meter.Speed {
			if of("another") || !of("LLAMA3.1") {
				return nil
			}
			return map[string]meter.Speed{"measured": {TokensPerSecond: 33, Calls: 4}}
		},
	})
}

func TestPlaces(t *testing.T) {
	// 4,920 MiB of weights, 512 MiB of cache and a tenth: 5,975 MiB.
	full := space("full", 2*gib, gpu("NVIDIA A100", gib, 40*gib))
	away := space("away", 32*gib)
	away.Connected = false
	bare := space("bare", 32*gib)
	bare.Node.Capabilities.Runtimes = nil
	n := &nodes{answer: says(eight)}
	f := fitter(n, []scheduler.Space{
		full, away, bare, space("cpu", 32*gib), space("partly", 32*gib, gpu("NVIDIA RTX 3060", 4*gib, 12*gib)),
		space("taken", 32*gib, gpu("NVIDIA RTX 3060", 0, 12*gib)), space("gpu", gib, gpu("NVIDIA GeForce RTX 3090", 20*gib, 24*gib)),
		space("two", gib, gpu("NVIDIA L4", 4*gib, 24*gib), gpu("Mystery", 4*gib, 24*gib)), space("measured", 32*gib),
	}, model.Deployment{Spec: model.Spec{Model: "LLAMA3.1", Engine: model.Ollama}, Replicas: []model.Replica{{NodeID: "full", State: model.Ready}, {NodeID: "cpu", State: model.Failed}}})
	a, err := f.Fit(t.Context(), Ask{Model: "llama3.1:latest", Engine: model.Ollama})
	if err != nil {
		t.Fatal(err)
	}
	if a.Context != 4096 || a.Parallel != 1 || a.Need.Cache != 512<<20 || a.NodeID != "full" {
		t.Errorf("answered %+v", a)
	}
	var got []string
	for _, n := range a.Nodes {
		got = append(got, fmt.Sprintf("%s %d %.0f %s: %s", n.NodeID, n.Place, n.TokensPerSecond, n.SpeedSource, n.Reason))
	}
	want := []string{
		"gpu 1 181 estimated: at most, by the memory bandwidth of NVIDIA GeForce RTX 3090: needs 5.8 GiB of the 20.0 GiB that are free on its GPUs",
		"two 1 0 : needs 5.8 GiB of the 8.0 GiB that are free on its GPUs",
		"partly 2 0 : 4.0 GiB of 5.8 GiB fit on its GPUs; the CPU does the rest, which is slow",
		"measured 3 33 measured, 4 calls: only on the CPU, which is slow: it has no GPU",
		"cpu 3 0 : only on the CPU, which is slow: it has no GPU",
		"taken 3 0 : only on the CPU, which is slow: 0 bytes of its GPUs' memory are free",
		"away 4 0 : is not connected",
		"bare 4 0 : has neither Docker nor Podman",
		"full 4 0 : serves it already, in a part of the memory that is used; needs 5.8 GiB of memory; 2.8 GiB are missing",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestVLLM(t *testing.T) {
	large := modelfit.Model{WeightBytes: 60 * gib, CacheValues: 1 << 17, ContextLength: 32768}
	n := &nodes{answer: says(large)}
	h100 := gpu("NVIDIA H100 80GB HBM3", 79*gib, 80*gib)
	f := fitter(n, []scheduler.Space{
		space("one", gib, h100), space("two", gib, h100, h100), space("cpu", 500*gib),
		space("busy", gib, gpu("NVIDIA H100 80GB HBM3", 40*gib, 80*gib), h100),
	})
	a, err := f.Fit(t.Context(), Ask{Model: "Qwen/Qwen3-32B", Engine: model.VLLM})
	if err != nil {
		t.Fatal(err)
	}
	// 60 + 8 GiB and a tenth: 74.8 of the 72 that vLLM takes of a GPU.
	if a.Context != 32768 {
		t.Errorf("the context is %d", a.Context)
	}
	got := map[string]string{}
	for _, n := range a.Nodes {
		got[n.NodeID] = fmt.Sprintf("%d %.0f %s", n.Place, n.TokensPerSecond, n.Reason)
	}
	for id, want := range map[string]string{
		"two":  "1 52 fits on 2 of its GPUs together (--gpus 2)",
		"one":  "4 0 needs 74.8 GiB of GPU memory; 2.8 GiB are missing",
		"busy": "4 0 needs 74.8 GiB of GPU memory; 2.8 GiB are missing",
		"cpu":  "4 0 has no GPU, and vLLM needs one",
	} {
		if got[id] != want {
			t.Errorf("%s: %s, want %s", id, got[id], want)
		}
	}
}

func TestExternal(t *testing.T) {
	has := space("has", 32*gib)
	has.Node.Capabilities.Runtimes = nil
	has.Node.Capabilities.Engines = []node.LocalEngine{{Name: "ollama", Models: []string{"m:latest"}}}
	small := space("small", gib)
	small.Node.Capabilities.Engines = has.Node.Capabilities.Engines
	n := &nodes{answer: says(eight)}
	a, err := fitter(n, []scheduler.Space{space("lacks", 32*gib), small, has}).Fit(t.Context(), Ask{Model: "m", Engine: model.External})
	if err != nil {
		t.Fatal(err)
	}
	if a.NodeID == "lacks" || a.Nodes[0].NodeID != "has" || a.Nodes[0].Place != OnCPU || a.Nodes[1].Place != OnCPU || a.Nodes[2].Reason != "no engine that runs there has the model" {
		t.Errorf("answered %+v", a)
	}
}

func TestWhatNodesSayIsNotBelieved(t *testing.T) {
	long := modelfit.Model{WeightBytes: 1, Source: strings.Repeat("x", 100000)}
	for name, tt := range map[string]struct {
		answer func(string, *http.Request) (int, string)
		code   fault.Code
		want   string
	}{
		"invalid":   {func(string, *http.Request) (int, string) { return 400, `invalid: model: "x" is none` }, fault.Invalid, `model: "x" is none`},
		"not there": {func(string, *http.Request) (int, string) { return 404, "there is no\nsuch model" }, fault.NotFound, "there is no such model"},
		"old agent": {func(string, *http.Request) (int, string) { return 404, "404 page not found\n" }, fault.Unavailable, "update it"},
		"offline":   {func(string, *http.Request) (int, string) { return 502, "no route to host" }, fault.Unavailable, "no route to host"},
		"HTML":      {func(string, *http.Request) (int, string) { return 200, "<html>" }, fault.Unavailable, "no description"},
		"negative":  {says(modelfit.Model{WeightBytes: 1, CacheValues: -1}), fault.Unavailable, "cacheValues is -1"},
		"no size":   {says(modelfit.Model{}), fault.Unavailable, "do not say how large"},
		"long":      {says(long), fault.Unavailable, "no description"},
		"redirect":  {func(string, *http.Request) (int, string) { return 302, "" }, fault.Unavailable, "could not find out"},
	} {
		n := &nodes{answer: tt.answer}
		_, err := fitter(n, []scheduler.Space{space("n", gib)}).Fit(t.Context(), Ask{Model: "m", Engine: model.Ollama})
		if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %v %q", name, err, tt.code, tt.want)
		}
	}
	_, err := fitter(&nodes{}, nil).Fit(t.Context(), Ask{Model: "m", Engine: model.Ollama})
	if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "no node is connected") {
		t.Errorf("without nodes: %v", err)
	}
}

func TestBadAsks(t *testing.T) {
	n := &nodes{answer: says(eight)}
	f := fitter(n, []scheduler.Space{space("n", gib)})
	for want, ask := range map[string]Ask{
		"context: is -1; it must be from 1":                   {Context: -1},
		"context: is 16777217; it must be from 1 to 16777216": {Context: 16777217},
		"parallel: is 1025; it must be from 1 to 1024":        {Parallel: 1025},
		"context: is 131073; m can have at most 131072":       {Context: 131073},
	} {
		ask.Model, ask.Engine = "m", model.Ollama
		if _, err := f.Fit(t.Context(), ask); fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Nodes are asked once by all who want to know, another when one cannot say, and again
// when the answer is old.
func TestAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{}
		n.answer = func(nodeID string, r *http.Request) (int, string) {
			time.Sleep(time.Second)
			if nodeID == "a" {
				return 502, "no network"
			}
			if q := r.URL.Query(); r.URL.Path != "/models/describe" || q.Get("engine") != "ollama" || q.Get("model") != "m" {
				return 400, "asked " + r.URL.String()
			}
			return says(eight)(nodeID, r)
		}
		f := fitter(n, []scheduler.Space{space("a", gib), space("b", gib)})
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if a, err := f.Fit(t.Context(), Ask{Model: "m", Engine: model.Ollama}); err != nil || a.NodeID != "b" {
					t.Errorf("answered %s, %v", a.NodeID, err)
				}
			})
		}
		all.Wait()
		check := func(want string) {
			t.Helper()
			_, err := f.Fit(t.Context(), Ask{Model: "m", Engine: model.Ollama, Context: 1000})
			if got := strings.Join(n.asked, ""); err != nil || got != want {
				t.Errorf("asked %s, %v; want %s", got, err, want)
			}
		}
		check("ab")
		time.Sleep(time.Hour)
		check("abab")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Fit(ctx, Ask{Model: "other", Engine: model.Ollama}); !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone is told %v", err)
		}
		time.Sleep(time.Minute) // what was begun ends
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := cache{entries: make(map[question]entry)}
	now := time.Now()
	for i := range maxKnown + 10 {
		c.put(question{model.Ollama, fmt.Sprint(i)}, entry{until: now.Add(time.Hour)}, now)
	}
	if len(c.entries) != maxKnown {
		t.Errorf("%d are remembered", len(c.entries))
	}
}

func TestBandwidths(t *testing.T) {
	for name, want := range map[string]float64{
		"NVIDIA GeForce RTX 4090": 1008e9, "NVIDIA GeForce RTX 4090 Laptop GPU": 0, "NVIDIA H100 PCIe": 2039e9, "NVIDIA H100 80GB HBM3": 3352e9,
		"NVIDIA L40S": 864e9, "NVIDIA L4": 300e9, "Tesla T4": 320e9, "NVIDIA T400": 0, "NVIDIA GeForce RTX 3060 Ti": 448e9, "": 0,
	} {
		if got := bandwidthOf(name); got != want {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	if got := bandwidth([]scheduler.GPUSpace{gpu("NVIDIA L4", 1, 1), gpu("Tesla T4", 1, 1)}); got != 300e9 {
		t.Errorf("two GPUs have %g", got)
	}
}
