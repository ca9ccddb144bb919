package hostinfo

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const vendorApple = "apple"

// parseSystemProfiler reads `system_profiler SPDisplaysDataType -json`. On
// Apple silicon the GPU shares the system's memory: what it may use of it is
// the given limit or, without one, Metal's recommended working set, which is
// two thirds of up to 36 GiB and three quarters of more (observed, not
// documented by Apple).
func parseSystemProfiler(profile []byte, memoryBytes, limitBytes int64) ([]*orchionv1.Gpu, error) {
	var report struct {
		Displays []struct {
			Name   string `json:"_name"`
			Model  string `json:"sppci_model"`
			Vendor string `json:"spdisplays_vendor"`
			VRAM   string `json:"spdisplays_vram"`
			Device string `json:"spdisplays_device-id"`
		} `json:"SPDisplaysDataType"`
	}
	if err := json.Unmarshal(profile, &report); err != nil {
		return nil, fmt.Errorf("system_profiler: %w", err)
	}
	var gpus []*orchionv1.Gpu
	for i, card := range report.Displays {
		gpu := &orchionv1.Gpu{Model: card.Model, Uuid: card.Device}
		if gpu.GetModel() == "" {
			gpu.Model = card.Name
		}
		if gpu.GetUuid() == "" {
			gpu.Uuid = "gpu" + strconv.Itoa(i)
		}
		switch {
		case card.Vendor == "sppci_vendor_Apple" || strings.HasPrefix(gpu.GetModel(), "Apple "):
			gpu.Vendor = vendorApple
			gpu.MemoryBytes = limitBytes
			if limitBytes == 0 {
				gpu.MemoryBytes = memoryBytes / 3 * 2
				if memoryBytes > 36<<30 {
					gpu.MemoryBytes = memoryBytes / 4 * 3
				}
			}
		case strings.Contains(card.Vendor, "0x1002") || strings.Contains(card.Vendor, "amd"):
			gpu.Vendor = vendorAMD
			gpu.MemoryBytes = appleVRAM(card.VRAM)
		default:
			// Intel's built-in graphics: nothing runs a model on them here.
			continue
		}
		gpus = append(gpus, gpu)
	}
	return gpus, nil
}

// appleVRAM reads sizes such as "16 GB", which are binary ones.
func appleVRAM(text string) int64 {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return 0
	}
	if unit == "GB" {
		return n << 30
	}
	return n << 20
}
