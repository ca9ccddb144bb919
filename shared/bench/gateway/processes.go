package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what the processes of a way have used so far.
type usage struct {
	cpu         time.Duration
	allocations float64 // of the orchestrator's Go heap; 0: another way
}

func (u usage) plus(o usage) usage  { return usage{u.cpu + o.cpu, u.allocations + o.allocations} }
func (u usage) minus(o usage) usage { return usage{u.cpu - o.cpu, u.allocations - o.allocations} }

// usage reads what a way's processes have used (Linux; elsewhere nothing).
func (w *way) usage(ctx context.Context) usage {
	u := usage{allocations: w.allocations(ctx)}
	for _, pid := range w.family() {
		u.cpu += cpuOf(pid)
	}
	return u
}

// resident is what a way's processes occupy.
func (w *way) resident() (sum int64) {
	for _, pid := range w.family() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}

// family gives a way's processes with their children, such as nginx's workers.
func (w *way) family() []int {
	pids := append([]int(nil), w.pids...)
	for i := 0; i < len(pids); i++ {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pids[i], pids[i]))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// cpuOf is what the threads of a process have run for, in nanoseconds and not in
// ticks. Threads that have ended are not in it, which Go's and nginx's do not.
func cpuOf(pid int) (sum time.Duration) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0
	}
	for _, thread := range threads {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, thread.Name()))
		if err != nil {
			continue
		}
		if fields := strings.Fields(string(data)); len(fields) > 0 {
			nanos, _ := strconv.ParseInt(fields[0], 10, 64)
			sum += time.Duration(nanos)
		}
	}
	return sum
}

// allocations reads how often the orchestrator has allocated.
func (w *way) allocations(ctx context.Context) float64 {
	if !w.metered {
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+"/metrics", http.NoBody)
	if err != nil {
		return 0
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			count, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return count
		}
	}
	return 0
}
