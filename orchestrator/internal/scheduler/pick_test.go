package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// plain is a node without GPUs.
func plain(id string, cores int, memory int64) *node.Node {
	return &node.Node{
		ID: id, Hostname: "host-" + id, State: node.Online,
		Capabilities: node.Capabilities{
			OS: "linux", Arch: "amd64", CPU: node.CPU{LogicalCores: cores}, MemoryBytes: memory,
			Runtimes: []node.Runtime{{Name: "docker"}},
		},
	}
}

func connected(n *node.Node) Candidate { return Candidate{Node: n, Connected: true} }

// allowing gives a node a policy that allows programs.
func allowing(names ...string) func(*Candidate) {
	return func(c *Candidate) {
		for _, name := range names {
			c.Node.Capabilities.Processes = append(c.Node.Capabilities.Processes, node.AllowedProcess{Name: name, Path: "/usr/bin/" + name})
		}
	}
}

// withCredentials gives a node credentials for registries.
func withCredentials(names ...string) func(*Candidate) {
	return func(c *Candidate) {
		for _, name := range names {
			c.Node.Capabilities.Credentials = append(c.Node.Capabilities.Credentials, node.RegistryCredentials{Name: name, Registry: name + ".example.org"})
		}
	}
}

func TestExplainReasons(t *testing.T) {
	with := func(change func(*Candidate)) Candidate {
		c := connected(workstation())
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name      string
		work      Work
		candidate Candidate
		want      []string
		full      bool
	}{
		{name: "nothing asked", candidate: connected(workstation())},
		{name: "not connected", candidate: with(func(c *Candidate) { c.Connected = false }),
			want: []string{"its node agent is registered but not connected"}},
		{name: "draining", candidate: with(func(c *Candidate) { c.Node.State = node.Draining }),
			want: []string{"is draining: it takes no new work"}},
		{name: "drain wanted", candidate: with(func(c *Candidate) { c.Node.Drain = &node.Drain{Mode: node.DrainFinish} }),
			want: []string{"is draining: it takes no new work"}},
		{name: "drained for a reason", candidate: with(func(c *Candidate) { c.Node.Drain = &node.Drain{Reason: "new disk"} }),
			want: []string{"is draining: it takes no new work (new disk)"}},
		{name: "cordoned", candidate: with(func(c *Candidate) { c.Node.Cordoned = true }),
			want: []string{"is cordoned: it takes no new work until it is uncordoned"}},
		{name: "cooling down", candidate: with(func(c *Candidate) {
			c.Node.CoolDown = &node.CoolDown{Until: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
		}), want: []string{"is cooling down: it went offline 3 times within 10 minutes; it takes no new work until 03:04:05 UTC"}},
		{name: "tainted", candidate: with(func(c *Candidate) { c.Node.Taints = []string{"gpu-only"} }),
			want: []string{"has the taint gpu-only, to be tolerated in spec.tolerations"}},
		{name: "one taint tolerated", work: Work{Tolerations: []string{"slow"}}, candidate: with(func(c *Candidate) {
			c.Node.Taints = []string{"attic", "gpu-only", "slow"}
		}), want: []string{"has the taints attic and gpu-only, to be tolerated in spec.tolerations"}},
		{name: "taints tolerated", work: Work{Tolerations: []string{"slow", "gpu-only"}}, candidate: with(func(c *Candidate) {
			c.Node.Taints = []string{"gpu-only", "slow"}
		})},
		{name: "all taints tolerated", work: Work{Tolerations: []string{AllTaints}}, candidate: with(func(c *Candidate) {
			c.Node.Taints = []string{"gpu-only", "slow"}
		})},
		{name: "cordoned and drained", candidate: with(func(c *Candidate) {
			c.Node.Cordoned, c.Node.Drain, c.Node.State = true, &node.Drain{}, node.Draining
		}), want: []string{"is draining: it takes no new work", "is cordoned: it takes no new work until it is uncordoned"}},
		{name: "no runtime", work: Work{NeedsRuntime: true}, candidate: with(func(c *Candidate) { c.Node.Capabilities.Runtimes = nil }),
			want: []string{"no container engine answers on it: install Podman or Docker there, or restart the one that hangs"}},
		{name: "process allowed by name", work: Work{Process: "ffmpeg"}, candidate: with(allowing("ffmpeg"))},
		{name: "process allowed by path", work: Work{Process: "/usr/bin/ffmpeg"}, candidate: with(allowing("sox", "ffmpeg"))},
		{name: "process not allowed", work: Work{Process: "bash"}, candidate: with(allowing("sox", "ffmpeg")),
			want: []string{"does not allow bash; its policy allows sox and ffmpeg"}},
		{name: "no processes", work: Work{Process: "bash"}, candidate: connected(workstation()),
			want: []string{"allows no process jobs: its owner can allow programs in its policy file"}},
		{name: "credentials held", work: Work{Credentials: "hub"}, candidate: with(withCredentials("work", "hub"))},
		{name: "credentials not held", work: Work{Credentials: "hub"}, candidate: with(withCredentials("work")),
			want: []string{"holds no registry credentials hub; it holds work for work.example.org"}},
		{name: "credentials for the registry", work: Work{Credentials: "hub", Registry: "hub.example.org"}, candidate: with(withCredentials("work", "hub"))},
		{name: "credentials for another registry", work: Work{Credentials: "hub", Registry: "ghcr.io"}, candidate: with(withCredentials("hub")),
			want: []string{"holds no registry credentials hub for ghcr.io; it holds hub for hub.example.org"}},
		{name: "no credentials", work: Work{Credentials: "hub"}, candidate: connected(workstation()),
			want: []string{"holds no registry credentials hub: its owner can add them to its registries file"}},
		{name: "no runtime needed", candidate: with(func(c *Candidate) { c.Node.Capabilities.Runtimes = nil })},
		{name: "avoided", work: Work{Avoid: map[string]string{"ws-1": "already runs a replica"}}, candidate: connected(workstation()),
			want: []string{"already runs a replica"}},
		{name: "model adopted", work: Work{AdoptedModel: "qwen3:0.6b"}, candidate: connected(workstation())},
		{name: "model adopted under its implied tag", work: Work{AdoptedModel: "gemma"}, candidate: with(func(c *Candidate) {
			c.Node.Capabilities.Engines = []node.LocalEngine{{Name: "ollama", Endpoint: "http://127.0.0.1:11434", Models: []string{"gemma:latest"}}}
		})},
		{name: "model not adopted", work: Work{AdoptedModel: "llama"}, candidate: connected(workstation()),
			want: []string{"none of its running engines lists the model llama; they are ollama at http://127.0.0.1:11434"}},
		{name: "no engine", work: Work{AdoptedModel: "llama"}, candidate: with(func(c *Candidate) { c.Node.Capabilities.Engines = nil }),
			want: []string{"has no running engine to adopt: start one there, or name it to its node agent with --adopt URL"}},
		{name: "too few cores and too little memory",
			work: Work{Resources: job.Resources{CPUMillis: 8500, MemoryBytes: 64 * gib}}, candidate: connected(workstation()),
			want: []string{"needs 8.5 cores; this node has 8 cores", "needs 64 GiB of memory; this node has 32 GiB"}},
		{name: "GPU too small", work: Work{Resources: job.Resources{GPUs: 1, GPUMemoryBytes: 40 * gib}}, candidate: connected(workstation()),
			want: []string{"needs 40 GiB of GPU memory; this node's largest GPU has 24 GiB"}},
		{name: "share too large", work: Work{Resources: job.Resources{GPUMemoryBytes: 40 * gib}}, candidate: connected(workstation()),
			want: []string{"needs 40 GiB of GPU memory; this node's largest GPU has 24 GiB"}},
		{name: "too few GPUs", work: Work{Resources: job.Resources{GPUs: 3}}, candidate: connected(workstation()),
			want: []string{"needs 3 GPUs; this node has 2"}},
		{name: "too few large GPUs", work: Work{Resources: job.Resources{GPUs: 2, GPUMemoryBytes: 16 * gib}}, candidate: connected(workstation()),
			want: []string{"needs 2 GPUs of 16 GiB; only 1 of this node's GPUs are that large"}},
		{name: "too little disk", work: Work{Resources: job.Resources{DiskBytes: 2 * gib}}, candidate: with(func(c *Candidate) { c.Node.Capabilities.Disk.TotalBytes = gib }),
			want: []string{"needs 2 GiB of disk; this node's has 1 GiB"}},
		{name: "disk full", full: true, work: Work{Resources: job.Resources{DiskBytes: 2 * gib}},
			candidate: with(func(c *Candidate) {
				c.Node.Capabilities.Disk.TotalBytes, c.Node.Usage.DiskUsedBytes = 8*gib, 5*gib
				c.Held.add(job.Resources{DiskBytes: 2 * gib}, 1)
			}),
			want: []string{"needs 2 GiB of disk; 3 GiB are free there, less 2 GiB for the work it holds"}},
		{name: "disk enough", work: Work{Resources: job.Resources{DiskBytes: 2 * gib}},
			candidate: with(func(c *Candidate) { c.Node.Capabilities.Disk.TotalBytes, c.Node.Usage.DiskUsedBytes = 8*gib, 5*gib })},
		{name: "GPU of another vendor", work: Work{Resources: job.Resources{GPUs: 1, GPUVendor: "nvidia"}},
			candidate: with(func(c *Candidate) { c.Node.Capabilities.GPUs = []node.GPU{{Vendor: "amd", MemoryBytes: 24 * gib}} }),
			want:      []string{"needs a GPU of nvidia; this node has none of theirs"}},
		{name: "GPUs of several vendors", work: Work{Resources: job.Resources{GPUs: 2, GPUVendor: "nvidia"}},
			candidate: with(func(c *Candidate) { c.Node.Capabilities.GPUs = []node.GPU{{Vendor: "amd"}, {Vendor: "nvidia"}} }),
			want:      []string{"needs 2 GPUs; this node has 1"}},
		{name: "no GPU", work: Work{Resources: job.Resources{GPUs: 1}}, candidate: connected(plain("a", 4, gib)),
			want: []string{"needs a GPU; this node has none"}},
		{name: "room taken", full: true,
			work: Work{Resources: job.Resources{CPUMillis: 2000, MemoryBytes: 4 * gib, GPUs: 1}},
			candidate: with(func(c *Candidate) {
				c.Held.add(job.Resources{CPUMillis: 6500, MemoryBytes: 30 * gib, GPUs: 2}, 1)
			}),
			want: []string{"needs 2 cores; 6.5 of 8 cores are taken", "needs 4 GiB of memory; 30 GiB of 32 GiB are taken",
				"its GPUs are taken by other work"}},
		{name: "what is taken does not matter to work that asks for nothing",
			candidate: with(func(c *Candidate) { c.Held.add(job.Resources{CPUMillis: 99000, MemoryBytes: 99 * gib}, 0) })},
		{name: "no slot", full: true, work: Work{TakesSlot: true}, candidate: with(func(c *Candidate) { c.Held.Slots = 16 }),
			want: []string{"already holds as many jobs as it runs at once (16)"}},
		{name: "several", work: Work{NeedsRuntime: true, Constraints: constraints("os=windows", "label.room=lab")},
			candidate: with(func(c *Candidate) { c.Node.Capabilities.Runtimes = nil }),
			want: []string{"does not meet os=windows: its operating system is linux", "does not meet label.room=lab: its label is office",
				"no container engine answers on it: install Podman or Docker there, or restart the one that hangs"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fit := Explain(&tt.work, []Candidate{tt.candidate})[0]
			if diff := cmp.Diff(tt.want, fit.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if fit.Full != tt.full {
				t.Errorf("full = %v, want %v", fit.Full, tt.full)
			}
			picked := Pick(&tt.work, []*Candidate{&tt.candidate}, 0) != nil
			if fit.Fits != picked || fit.Fits != (len(tt.want) == 0) || !fit.Fits && fit.Score != 0 {
				t.Errorf("fits %v, picked %v, score %v, reasons %v", fit.Fits, picked, fit.Score, fit.Reasons)
			}
		})
	}
}

func constraints(texts ...string) []Constraint {
	list, err := ParseConstraints(texts)
	if err != nil {
		panic(err)
	}
	return list
}

func TestPickPrefersTheLeastLoaded(t *testing.T) {
	a, b, c := connected(plain("a", 4, 8*gib)), connected(plain("b", 4, 8*gib)), connected(workstation())
	all := []*Candidate{&a, &b, &c}
	work := Work{NeedsRuntime: true, TakesSlot: true, Resources: job.Resources{MemoryBytes: gib}}
	if got := Pick(&work, all, 0); got != &a {
		t.Errorf("of equals %s was picked, want the first by id", got.Node.ID)
	}
	if got := Pick(&work, all, 1); got != &a {
		t.Errorf("from another place on %s was picked, want the same", got.Node.ID)
	}
	a.Held.add(job.Resources{MemoryBytes: gib}, 1)
	if got := Pick(&work, all, 0); got != &b {
		t.Errorf("%s was picked, want b, which is empty", got.Node.ID)
	}
	a.Held.add(job.Resources{CPUMillis: 4000, MemoryBytes: 6 * gib}, 7)
	b.Held = a.Held
	if got := Pick(&work, all, 0); got != &c {
		t.Errorf("%s was picked, want the GPU node once the others are far busier", got.Node.ID)
	}
	gpu := Work{Resources: job.Resources{GPUs: 1}}
	if got := Pick(&gpu, all, 0); got != &c {
		t.Errorf("%v was picked, want the GPU node", got)
	}
}

func TestSummary(t *testing.T) {
	fit := func(id string, full bool, reasons ...string) Fit {
		return Fit{NodeID: id, Fits: len(reasons) == 0, Full: full, Reasons: reasons}
	}
	for _, tt := range []struct {
		name string
		fits []Fit
		want string
	}{
		{"no node", nil, "no node is online: start a node agent, for example with: node-agent --orchestrator localhost:50051"},
		{"one fits", []Fit{fit("a", false, "is draining"), fit("b", false)}, ""},
		{"the only one", []Fit{fit("a", false, "x is missing")}, "the only node cannot take it: x is missing"},
		{"full", []Fit{fit("a", false, "no runtime"), fit("b", true, "no slot"), fit("c", true, "no slot")},
			"2 nodes fit but are full: no slot (2 nodes)"},
		{"one full", []Fit{fit("a", true, "no slot")}, "1 node fits but is full: no slot"},
		{"many reasons", []Fit{fit("a", false, "r1", "r2"), fit("b", false, "r3", "r2"), fit("c", false, "r4")},
			"none of the 3 nodes can take it: r2 (2 nodes); r1; r3; and more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Summary(tt.fits); got != tt.want {
				t.Errorf("Summary = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestExplainOrder(t *testing.T) {
	busy, idle, gone := connected(plain("a", 4, gib)), connected(plain("b", 4, gib)), connected(plain("c", 4, gib))
	busy.Held.Slots, gone.Connected = 3, false
	fits := Explain(&Work{TakesSlot: true}, []Candidate{gone, busy, idle})
	var got []string
	for _, f := range fits {
		got = append(got, fmt.Sprintf("%s %v %.0f", f.NodeID, f.Fits, f.Score))
	}
	if want := "b true 100, a true 88, c false 0"; strings.Join(got, ", ") != want {
		t.Errorf("Explain = %v, want %v", got, want)
	}
}

// TestFiltersAgree holds the filters that decide against those that explain.
func TestFiltersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := plain("n", rapid.IntRange(0, 8).Draw(t, "cores"), int64(rapid.IntRange(0, 8).Draw(t, "memory"))*gib)
		for range rapid.IntRange(0, 2).Draw(t, "gpus") {
			n.Capabilities.GPUs = append(n.Capabilities.GPUs, node.GPU{MemoryBytes: int64(rapid.IntRange(0, 24).Draw(t, "gpu memory")) * gib})
		}
		if rapid.Bool().Draw(t, "no runtime") {
			n.Capabilities.Runtimes = nil
		}
		some := func(what string) string { return rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, what) }
		if taint := some("taint"); taint != "" {
			n.Taints = []string{taint}
		}
		c := Candidate{Node: n, Connected: rapid.Bool().Draw(t, "connected")}
		draw := func(label string) job.Resources {
			return job.Resources{
				CPUMillis:      int64(rapid.IntRange(0, 9).Draw(t, label+" cores")) * 1000,
				MemoryBytes:    int64(rapid.IntRange(0, 9).Draw(t, label+" memory")) * gib,
				GPUs:           rapid.IntRange(0, 2).Draw(t, label+" gpus"),
				GPUMemoryBytes: int64(rapid.IntRange(0, 24).Draw(t, label+" gpu memory")) * gib,
			}
		}
		c.Held.add(draw("held"), rapid.IntRange(0, 16).Draw(t, "slots"))
		work := Work{
			Resources: draw("work"), NeedsRuntime: rapid.Bool().Draw(t, "needs runtime"), TakesSlot: rapid.Bool().Draw(t, "takes slot"),
			Process: some("process"), Credentials: some("credentials"), Tolerations: []string{some("tolerated")},
		}
		if name := some("allowed"); name != "" {
			allowing(name)(&c)
		}
		if name := some("held credentials"); name != "" {
			withCredentials(name)(&c)
		}
		fit := Explain(&work, []Candidate{c})[0]
		if picked := Pick(&work, []*Candidate{&c}, 0) != nil; picked != fit.Fits {
			t.Fatalf("picked %v but explained as %v: %v", picked, fit.Fits, fit.Reasons)
		}
		lasting := true
		for _, f := range filters() {
			lasting = lasting && (f.transient || f.passes(&work, &c))
		}
		if suits(&work, &c) != lasting {
			t.Fatalf("suits is %v, but it is explained by %v", !lasting, fit.Reasons)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		candidates := make([]*Candidate, 0, size)
		for i := range size {
			c := connected(plain(fmt.Sprintf("node-%05d", i), 16, 64*gib))
			c.Held.add(job.Resources{CPUMillis: int64(i%16) * 1000}, i%7)
			candidates = append(candidates, &c)
		}
		for _, tt := range []struct {
			name string
			work Work
		}{
			{"fits", Work{NeedsRuntime: true, TakesSlot: true, Resources: job.Resources{CPUMillis: 500, MemoryBytes: gib}}},
			{"fits one", Work{NeedsRuntime: true, TakesSlot: true, Constraints: constraints("node=node-00099")}},
			{"fits nowhere", Work{NeedsRuntime: true, TakesSlot: true, Resources: job.Resources{GPUs: 1}}},
		} {
			b.Run(fmt.Sprintf("%d/%s", size, tt.name), func(b *testing.B) {
				b.ReportAllocs()
				from := 0
				for b.Loop() {
					Pick(&tt.work, candidates, from)
					from = (from + enough) % size
				}
			})
		}
	}
}
