package scheduler

import (
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

const (
	gib = int64(1) << 30
	mib = int64(1) << 20
)

// workstation is a node with two GPUs of different size.
func workstation() *node.Node {
	return &node.Node{
		ID: "ws-1", Hostname: "workstation", State: node.Online,
		Labels: map[string]string{"room": "office", "ssd": "", "rank": "7", "topology.example/zone": "a"},
		Capabilities: node.Capabilities{
			OS: "linux", Arch: "amd64", Platform: "debian 12.11",
			CPU: node.CPU{PhysicalCores: 4, LogicalCores: 8}, MemoryBytes: 32 * gib,
			Disk: node.Disk{TotalBytes: 500e9},
			GPUs: []node.GPU{
				{Vendor: "nvidia", Model: "A", MemoryBytes: 24 * gib},
				{Vendor: "nvidia", Model: "B", MemoryBytes: 8 * gib},
			},
			Runtimes: []node.Runtime{{Name: "podman"}, {Name: "docker"}},
			Engines:  []node.LocalEngine{{Name: "ollama", Endpoint: "http://127.0.0.1:11434", Models: []string{"qwen3:0.6b"}}},
		},
	}
}

func TestConstraintMatches(t *testing.T) {
	bare := &node.Node{ID: "bare", State: node.Online}
	for _, tt := range []struct {
		text     string
		matches  bool
		bare     bool   // what a node without anything does
		why, not string // for the node that does not match
	}{
		{text: "os=linux", matches: true, not: "does not meet os=linux: it has none"},
		{text: " os == linux ", matches: true},
		{text: "os=windows", why: "does not meet os=windows: its operating system is linux"},
		{text: "arch!=arm64", matches: true, bare: true},
		{text: "arch!=amd64", bare: true, why: "does not meet arch!=amd64: its architecture is amd64"},
		{text: "gpu.memory>=16GiB", matches: true, not: "does not meet gpu.memory>=16GiB: it has no GPU"},
		{text: "gpu.memory>=25GiB", why: "does not meet gpu.memory>=25GiB: its largest GPU has 24 GiB"},
		{text: "gpu.memory > 24GiB", why: "does not meet gpu.memory > 24GiB: its largest GPU has 24 GiB"},
		{text: "gpu.memory<=24GiB", matches: true, bare: true},
		{text: "gpu.count=2", matches: true},
		{text: "gpu.count exists", matches: true},
		{text: "gpu.vendor=amd", why: "does not meet gpu.vendor=amd: it has nvidia"},
		{text: "gpu.model in (B,C)", matches: true},
		{text: "memory>=8GiB", matches: true, not: "does not meet memory>=8GiB: it has 0 B"},
		{text: "memory<1.5 GB", why: "does not meet memory<1.5 GB: it has 32 GiB", bare: true},
		{text: "memory>=34359738368", matches: true},
		{text: "disk>=1TB", why: "does not meet disk>=1TB: its disk has 465.7 GiB"},
		{text: "cpu.cores>=4", matches: true, not: "does not meet cpu.cores>=4: it has 0 cores"},
		{text: "cpu.cores>=16", why: "does not meet cpu.cores>=16: it has 8 cores"},
		{text: "label.room in (office, lab)", matches: true, not: "does not meet label.room in (office, lab): it does not have the label"},
		{text: "label.room in(lab)", why: "does not meet label.room in(lab): its label is office"},
		{text: "label.ssd exists", matches: true},
		{text: "label.hdd exists", why: "does not meet label.hdd exists: it does not have the label"},
		{text: "label.rank>=5", matches: true},
		{text: "label.rank<7", why: "does not meet label.rank<7: its label is 7"},
		{text: "label.room>=5", why: "does not meet label.room>=5: its label is office"},
		{text: "label.topology.example/zone=a", matches: true},
		{text: "node=ws-1", matches: true, not: "does not meet node=ws-1: its id is bare"},
		{text: "hostname=other", why: "does not meet hostname=other: its hostname is workstation"},
		{text: "runtime=docker", matches: true},
		{text: "runtime!=docker", bare: true, why: "does not meet runtime!=docker: it has podman and docker"},
		{text: "runtime exists", matches: true},
		{text: "engine=ollama", matches: true},
		{text: "platform=debian 12.11", matches: true},
	} {
		t.Run(tt.text, func(t *testing.T) {
			c, err := ParseConstraint(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			ws := workstation()
			if got := c.Matches(ws); got != tt.matches {
				t.Errorf("matches the workstation: %v, want %v", got, tt.matches)
			}
			if got := c.Matches(bare); got != tt.bare {
				t.Errorf("matches the bare node: %v, want %v", got, tt.bare)
			}
			if tt.why != "" && c.why(ws) != tt.why {
				t.Errorf("why = %q, want %q", c.why(ws), tt.why)
			}
			if tt.not != "" && c.why(bare) != tt.not {
				t.Errorf("why not the bare node = %q, want %q", c.why(bare), tt.not)
			}
		})
	}
}

func TestParseConstraintErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", `"" does not begin with a key; write key, operator and value, such as os=linux or memory>=8GiB`},
		{"=linux", `"=linux" does not begin with a key`},
		{"gpu.mem>=8GiB", `"gpu.mem" is not a key of constraints; use one of arch, cpu.cores, disk, engine, gpu.count, gpu.memory, gpu.model, gpu.vendor, hostname, memory, node, os, platform, runtime or label.KEY`},
		{"label.=x", `"label." names no label; write label.KEY, such as label.room=office`},
		{"os", `"os": has no operator after os; use one of =, !=, in (...), exists`},
		{"os like linux", `"os like linux": has no operator after os; use one of =, !=, in (...), exists`},
		{"os>=linux", `"os>=linux": os does not go with >=; use one of =, !=, in (...), exists`},
		{"memory in (1,2)", `"memory in (1,2)": memory does not go with in; use one of =, !=, >=, >, <=, <, exists`},
		{"memory", `"memory": has no operator after memory; use one of =, !=, >=, >, <=, <, exists`},
		{"os=", `"os=": has no value after the operator`},
		{"memory>=lots", `"memory>=lots": "lots" is not a size; write bytes or a number with KiB`},
		{"memory>=-1GiB", `"-1GiB" is not a size`},
		{"memory>=NaN", `"NaN" is not a size`},
		{"cpu.cores>=four", `"cpu.cores>=four": "four" is not a number of 0 or more`},
		{"label.rank>high", `"label.rank>high": "high" is not a number of 0 or more`},
		{"os in linux,darwin", `"os in linux,darwin": the values after in stand in brackets, such as os in (a,b)`},
		{"os in (linux", `the values after in stand in brackets`},
		{"os in (linux,)", `one of the values in "(linux,)" is empty`},
		{"os in ()", `one of the values in "()" is empty`},
		{"label.ssd exists now", `"label.ssd exists now": nothing may follow exists, but "now" does`},
		{"os in (" + strings.Repeat("a,", 70) + "b)", `has 71 values; at most 64 are allowed`},
		{"os=" + strings.Repeat("x", 600), `is 603 characters long; at most 512 are allowed`},
	} {
		t.Run(tt.text[:min(len(tt.text), 40)], func(t *testing.T) {
			_, err := ParseConstraint(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
	_, err := ParseConstraints([]string{"os=linux", "cores>=4"})
	if err == nil || !strings.HasPrefix(err.Error(), `constraints[1]: "cores" is not a key`) {
		t.Errorf("error = %v, want it to name constraints[1]", err)
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, text := range []string{"os=linux", "label.a/b in (x,y)", "gpu.memory>=16GiB", "label.ssd exists", "x", "=", "os in ("} {
		f.Add(text)
	}
	ws := workstation()
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConstraint(text)
		if err != nil {
			return
		}
		// What was read is read the same again, and never both holds and has a
		// reason not to.
		again, err := ParseConstraint(c.String())
		if err != nil || again.Matches(ws) != c.Matches(ws) {
			t.Errorf("%q read again: %v", text, err)
		}
		if !c.Matches(ws) && c.why(ws) == "" {
			t.Errorf("%q does not match and does not say why", text)
		}
	})
}
