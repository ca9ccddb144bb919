package fit

import (
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// bandwidths are bytes a second between a GPU and its memory, in GB, from their
// makers' data sheets. Of names that are part of others the longer stands first.
var bandwidths = []struct {
	name string
	gb   float64
}{
	{"B200", 8000}, {"H200", 4800}, {"H100 PCIe", 2039}, {"H100 NVL", 3938}, {"H100", 3352},
	{"A100-SXM4-80GB", 2039}, {"A100 80GB", 1935}, {"A100-PCIE-40GB", 1555}, {"A100", 1555}, {"A10G", 600}, {"A10", 600}, {"A40", 696}, {"A30", 933},
	{"L40S", 864}, {"L40", 864}, {"L4", 300}, {"V100", 900}, {"T4", 320}, {"P100", 732}, {"P40", 347},
	{"RTX PRO 6000", 1792}, {"RTX 6000 Ada", 960}, {"RTX A6000", 768}, {"RTX A5000", 768}, {"RTX A4000", 448},
	{"RTX 5090", 1792}, {"RTX 5080", 960}, {"RTX 5070 Ti", 896}, {"RTX 5070", 672}, {"RTX 5060 Ti", 448}, {"RTX 5060", 448},
	{"RTX 4090", 1008}, {"RTX 4080 SUPER", 736}, {"RTX 4080", 717}, {"RTX 4070 Ti SUPER", 672}, {"RTX 4070", 504}, {"RTX 4060 Ti", 288}, {"RTX 4060", 272},
	{"RTX 3090 Ti", 1008}, {"RTX 3090", 936}, {"RTX 3080 Ti", 912}, {"RTX 3080", 760}, {"RTX 3070 Ti", 608}, {"RTX 3070", 448},
	{"RTX 3060 Ti", 448}, {"RTX 3060", 360}, {"RTX 3050", 224},
	{"RTX 2080 Ti", 616}, {"RTX 2080", 448}, {"RTX 2070", 448}, {"RTX 2060", 336},
}

// bandwidth is that of some GPUs, bytes a second; 0: not known. A token passes
// through one after another, so that it is the slowest's.
func bandwidth(gpus []scheduler.GPUSpace) float64 {
	slowest := 0.0
	for _, gpu := range gpus {
		rate := bandwidthOf(gpu.Model)
		if rate == 0 {
			return 0
		}
		if slowest == 0 || rate < slowest {
			slowest = rate
		}
	}
	return slowest
}

func bandwidthOf(name string) float64 {
	if strings.Contains(name, "Laptop") || strings.Contains(name, "Max-Q") || strings.Contains(name, "Mobile") {
		return 0 // slower, and not all alike
	}
	for _, b := range bandwidths {
		at := strings.Index(name, b.name)
		if at < 0 {
			continue
		}
		end := at + len(b.name)
		if (at == 0 || !isWord(name[at-1])) && (end == len(name) || !isWord(name[end])) {
			return b.gb * 1e9
		}
	}
	return 0
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}
