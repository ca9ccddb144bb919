package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// maxResident bounds the memory of each program whatever jobs print.
const maxResident = 160 << 20

// wantSmall fails when a program has ever used more memory than it should.
func wantSmall(t *testing.T, p *program) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("what a process uses of memory is only known on Linux")
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
			t.Logf("%s used %d MiB at most", p.name, kilobytes>>10)
			if kilobytes<<10 > maxResident {
				t.Errorf("%s used %d MiB, at most %d are allowed", p.name, kilobytes>>10, maxResident>>20)
			}
		}
	}
}

// logLines calls f with the lines of a log, which may be a long one.
func (c *cluster) logLines(id string, f func(line string)) {
	c.t.Helper()
	response, err := http.Get(c.url + "/api/jobs/" + id + "/logs")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read from
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f(lines.Text())
	}
	if err := lines.Err(); err != nil {
		c.t.Fatal(err)
	}
}

// A job that prints as fast as it can is not held up and holds nothing up: the
// node stays online, another job's log goes on, neither program grows, and
// where lines of it are missing its log says so.
func TestFlood(t *testing.T) {
	t.Parallel()
	const bytes = 100_000_000
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		// Little room, and a slow way: lines must be lost.
		a := c.addAgent("flood", e, "--log-buffer", "16MiB", "--log-rate", "2MiB")
		id := c.submit([]string{"lines", "3", "500ms", "flood", fmt.Sprint(bytes)})
		c.waitLog(id, "line 1")
		calm := c.submit([]string{"lines", "100", "20ms"})
		began := time.Now()
		c.waitJob(calm, succeeded)
		t.Logf("the calm job took %v", time.Since(began).Round(time.Millisecond))
		wantLines(t, c.logText(calm), 100)
		c.eventually("the flood has ended", func() error {
			node := &orchionv1.Node{}
			if err := c.get("/api/nodes/"+a.id, node); err != nil {
				return err
			}
			if node.GetState() != orchionv1.NodeState_NODE_STATE_ONLINE {
				t.Fatalf("the node is %v while a job floods its log", node.GetState())
			}
			if state := c.job(id).GetState(); state != succeeded {
				return fmt.Errorf("it is %v", state)
			}
			return nil
		})
		if attempts := c.job(id).GetAttempts(); len(attempts) != 1 {
			t.Errorf("attempts %v, want one", attempts)
		}
		// Podman keeps one file and begins it anew, unseen: the note may come behind the
		// place. Its monitor (conmon 2.1) also drops pieces of lines once it has done so.
		lossy := e.Name == "podman"
		next, missing, notes, noted := int64(1), int64(0), 0, false
		c.logLines(id, func(line string) {
			var n int64
			_, err := fmt.Sscanf(line, "flood %d ", &n)
			switch {
			case next == 1 && strings.HasPrefix(line, "line "):
			case err == nil && (n == next || n > next && (noted || lossy)):
				missing += n - next
				next, noted = n+1, false
			case strings.HasPrefix(line, "orchion: ") && strings.Contains(line, "dropped"):
				t.Log(line)
				notes++
				noted = true
			case strings.HasPrefix(line, "flooded in ") && (next == bytes/100+1 || noted || lossy):
				t.Log(line)
				missing += bytes/100 + 1 - next
				next = bytes/100 + 2
			case lossy && err != nil: // a piece of a line
			default:
				t.Fatalf("%.200q stands where line %d should be, without a note", line, next)
			}
		})
		if next != bytes/100+2 && (!lossy || !noted) {
			t.Errorf("the log ends before line %d", next)
		}
		if notes == 0 {
			t.Error("nothing is missing, so nothing was tried")
		}
		t.Logf("%d of %d lines are missing, at %d notes", missing, int64(bytes/100), notes)
		wantSmall(t, c.orchestrator)
		wantSmall(t, a.program)
	})
}

// TestLineWithoutEnd has a job print 100 MB without a newline, and what is no
// plain text.
func TestLineWithoutEnd(t *testing.T) {
	t.Parallel()
	const letters = 100_000_000
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("letters", e)
		id := c.submit([]string{"odd", "letters", fmt.Sprint(letters)})
		c.waitJob(id, succeeded)
		var odd []string
		count := 0
		c.logLines(id, func(line string) {
			if strings.Trim(line, "y") != "" || line == "" {
				odd = append(odd, line)
				return
			}
			if len(line) > 16<<10 {
				t.Fatalf("an entry of %d bytes", len(line))
			}
			count += len(line)
		})
		// Podman 4.3 may lose a piece of what is followed, of 8 KiB.
		slack := 0
		if e.Name == "podman" {
			slack = 64 << 10
		}
		if count > letters || count < letters-slack {
			t.Errorf("%d letters arrived of %d", count, letters)
		}
		// Docker replaces each invalid byte itself, Podman leaves that to us: one for a run.
		for i := range odd {
			odd[i] = strings.ReplaceAll(odd[i], "\uFFFD\uFFFD", "\uFFFD")
		}
		want := []string{"nul\x00nul", "10 %\r20 %\r30 %", "\x1b[31mred\x1b[0m", "a\uFFFDb", "\uFFFD", "tab\there"}
		if fmt.Sprintf("%q", odd) != fmt.Sprintf("%q", want) {
			t.Errorf("what is no plain text came as %q, want %q", odd, want)
		}
		wantSmall(t, c.orchestrator)
		wantSmall(t, a.program)
	})
}
