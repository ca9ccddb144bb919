package process

import (
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

func TestStats(t *testing.T) {
	d := open(t, t.TempDir())
	const size = 64 << 20
	id := begin(t, d, program(testProgram, "alloc", "67108864", "out", "ready", "wait"))
	awaitLine(t, d, id, func(line string) bool { return line == "ready" })
	stats, err := d.Stats(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	// The supervisor and the agent are not in it.
	if stats.MemoryBytes < size || stats.MemoryBytes > 2*size || stats.PIDs != 1 || stats.MemoryLimitBytes < size {
		t.Errorf("a process with %d bytes uses %+v", size, stats)
	}
	if err := d.Kill(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Wait(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stats(t.Context(), id); driver.CodeOf(err) != driver.CodeConflict {
		t.Errorf("the error after its end is %v", err)
	}
	if _, err := d.Stats(t.Context(), "none"); err == nil {
		t.Error("a process that is not there was measured")
	}
}
