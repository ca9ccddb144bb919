package hostinfo

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const vendorNVIDIA = "nvidia"

// The columns asked of nvidia-smi; see `nvidia-smi --help-query-gpu`. All of
// them are known to every driver since 340.
const (
	nvidiaDetectColumns = "uuid,name,memory.total,driver_version,pci.bus_id"
	nvidiaUsageColumns  = "uuid,utilization.gpu,memory.used,memory.total"
)

// nvidia asks the nvidia-smi that comes with every driver: NVML without cgo
// would mean loading a C library by hand.
type nvidia struct{}

func (nvidia) detect(ctx context.Context) ([]*orchionv1.Gpu, error) {
	out, err := nvidiaQuery(ctx, nvidiaDetectColumns)
	if err != nil || out == nil {
		return nil, err
	}
	return parseNVIDIAGpus(out)
}

func (nvidia) usage(ctx context.Context) ([]*orchionv1.GpuUsage, error) {
	out, err := nvidiaQuery(ctx, nvidiaUsageColumns)
	if err != nil || out == nil {
		return nil, err
	}
	return parseNVIDIAUsage(out)
}

// nvidiaQuery answers nil without an error when there is no nvidia-smi.
func nvidiaQuery(ctx context.Context, columns string) ([]byte, error) {
	path, ok := nvidiaSMI()
	if !ok {
		return nil, nil
	}
	out, err := runCommand(ctx, path, "--query-gpu="+columns, "--format=csv,noheader,nounits")
	if err != nil && strings.Contains(err.Error(), "No devices were found") {
		// The tool is there, a card is not.
		return nil, nil
	}
	return out, err
}

func nvidiaSMI() (string, bool) {
	if path, err := exec.LookPath("nvidia-smi"); err == nil {
		return path, true
	}
	var candidates []string
	switch runtime.GOOS {
	case "windows":
		candidates = []string{
			filepath.Join(os.Getenv("SystemRoot"), "System32", "nvidia-smi.exe"),
			filepath.Join(os.Getenv("ProgramFiles"), "NVIDIA Corporation", "NVSMI", "nvidia-smi.exe"),
		}
	case "linux":
		// Not in the PATH of services: the first is WSL's, the second NixOS's.
		candidates = []string{"/usr/lib/wsl/lib/nvidia-smi", "/run/current-system/sw/bin/nvidia-smi"}
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path, true
		} else if !errors.Is(err, fs.ErrNotExist) {
			continue
		}
	}
	return "", false
}

// parseNVIDIAGpus reads what nvidia-smi prints for nvidiaDetectColumns.
func parseNVIDIAGpus(out []byte) ([]*orchionv1.Gpu, error) {
	rows, err := nvidiaRows(out, 5)
	if err != nil {
		return nil, err
	}
	gpus := make([]*orchionv1.Gpu, 0, len(rows))
	for _, row := range rows {
		memory, err := nvidiaMebibytes(row[2])
		if err != nil {
			return nil, fmt.Errorf("nvidia-smi: memory.total of %s: %w", row[1], err)
		}
		uuid := row[0]
		if nvidiaAbsent(uuid) {
			uuid = row[4]
		}
		gpus = append(gpus, &orchionv1.Gpu{
			Vendor:        vendorNVIDIA,
			Model:         row[1],
			MemoryBytes:   memory,
			DriverVersion: row[3],
			Uuid:          uuid,
		})
	}
	return gpus, nil
}

// parseNVIDIAUsage reads what nvidia-smi prints for nvidiaUsageColumns. With
// multi-instance GPUs on, the utilisation of the whole is not available and
// answered as 0.
func parseNVIDIAUsage(out []byte) ([]*orchionv1.GpuUsage, error) {
	rows, err := nvidiaRows(out, 4)
	if err != nil {
		return nil, err
	}
	usages := make([]*orchionv1.GpuUsage, 0, len(rows))
	for _, row := range rows {
		usage := &orchionv1.GpuUsage{Uuid: row[0]}
		if !nvidiaAbsent(row[1]) {
			usage.UtilizationPercent, err = strconv.ParseFloat(row[1], 64)
			if err != nil {
				return nil, fmt.Errorf("nvidia-smi: utilization.gpu: %w", err)
			}
		}
		usage.MemoryUsedBytes, err = nvidiaMebibytes(row[2])
		if err != nil {
			return nil, fmt.Errorf("nvidia-smi: memory.used: %w", err)
		}
		usages = append(usages, usage)
	}
	return usages, nil
}

func nvidiaRows(out []byte, columns int) ([][]string, error) {
	reader := csv.NewReader(strings.NewReader(string(out)))
	reader.TrimLeadingSpace = true
	reader.FieldsPerRecord = columns
	reader.LazyQuotes = true
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi printed what is not the %d columns asked for (%q): %w", columns, firstLine(string(out)), err)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
	}
	return rows, nil
}

// nvidiaAbsent says whether a field has no value. Drivers before 440 wrote
// [Not Supported], later ones [N/A].
func nvidiaAbsent(field string) bool {
	switch strings.Trim(field, "[]") {
	case "N/A", "Not Supported", "Unknown Error", "Insufficient Permissions", "GPU requires reset", "":
		return true
	}
	return false
}

// nvidiaMebibytes reads a size; 0 when there is none, as on machines whose GPU
// shares the system's memory.
func nvidiaMebibytes(field string) (int64, error) {
	if nvidiaAbsent(field) {
		return 0, nil
	}
	// nounits leaves the unit away, but not in every old driver.
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(field, "MiB")), 10, 40)
	if err != nil {
		return 0, err
	}
	return n << 20, nil
}
