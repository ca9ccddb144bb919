package hostinfo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	vendorAMD = "amd"
	// amdPCIVendor is AMD's number in the PCI registry.
	amdPCIVendor = "0x1002"
)

// amd reads what the amdgpu kernel driver tells in sysfs; see
// https://docs.kernel.org/gpu/amdgpu/driver-misc.html. root is / as an fs.FS.
type amd struct{ root fs.FS }

var cardName = regexp.MustCompile(`^card[0-9]+$`)

func (a amd) detect(context.Context) ([]*orchionv1.Gpu, error) {
	var gpus []*orchionv1.Gpu
	for _, dir := range a.cards() {
		memory, err := a.number(dir, "mem_info_vram_total")
		if err != nil {
			return gpus, err
		}
		gpus = append(gpus, &orchionv1.Gpu{
			Vendor:        vendorAMD,
			Model:         a.model(dir),
			MemoryBytes:   memory,
			DriverVersion: a.text("sys/module/amdgpu", "version"),
			Uuid:          a.uuid(dir),
		})
	}
	return gpus, nil
}

func (a amd) usage(context.Context) ([]*orchionv1.GpuUsage, error) {
	var usages []*orchionv1.GpuUsage
	for _, dir := range a.cards() {
		used, err := a.number(dir, "mem_info_vram_used")
		if err != nil {
			return usages, err
		}
		// Not there on the oldest cards: then 0.
		busy, _ := strconv.ParseFloat(a.text(dir, "gpu_busy_percent"), 64)
		usages = append(usages, &orchionv1.GpuUsage{Uuid: a.uuid(dir), UtilizationPercent: busy, MemoryUsedBytes: used})
	}
	return usages, nil
}

// cards gives the sysfs folders of AMD's GPUs that the amdgpu driver serves.
func (a amd) cards() []string {
	entries, err := fs.ReadDir(a.root, "sys/class/drm")
	if err != nil {
		return nil // no graphics in this kernel
	}
	var dirs []string
	for _, entry := range entries {
		if !cardName.MatchString(entry.Name()) {
			continue
		}
		dir := path.Join("sys/class/drm", entry.Name(), "device")
		if a.text(dir, "vendor") != amdPCIVendor || a.text(dir, "mem_info_vram_total") == "" {
			continue
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// uuid is the card's own number where it has one (since Vega), else its place
// on the bus.
func (a amd) uuid(dir string) string {
	if id := a.text(dir, "unique_id"); id != "" {
		return "GPU-" + id
	}
	for line := range strings.Lines(a.text(dir, "uevent")) {
		if slot, ok := strings.CutPrefix(strings.TrimSpace(line), "PCI_SLOT_NAME="); ok {
			return slot
		}
	}
	return path.Dir(dir)
}

// model names the card: by itself, by the machine's list of PCI devices, or by
// its number.
func (a amd) model(dir string) string {
	if name := a.text(dir, "product_name"); name != "" {
		return name
	}
	device := strings.TrimPrefix(a.text(dir, "device"), "0x")
	for _, list := range []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"} {
		file, err := a.root.Open(list)
		if err != nil {
			continue
		}
		name := pciDeviceName(file, strings.TrimPrefix(amdPCIVendor, "0x"), device)
		_ = file.Close() // only read from
		if name != "" {
			return name
		}
	}
	return "AMD GPU 1002:" + device
}

// pciDeviceName looks a device up in the format of pci.ids: vendors at the
// beginning of a line, their devices behind one tab.
func pciDeviceName(r io.Reader, vendor, device string) string {
	lines := bufio.NewScanner(r)
	inVendor := false
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] != '\t':
			inVendor = strings.HasPrefix(line, vendor+" ")
		case inVendor && !strings.HasPrefix(line, "\t\t"):
			if name, ok := strings.CutPrefix(line, "\t"+device+" "); ok {
				return strings.TrimSpace(name)
			}
		}
	}
	return ""
}

func (a amd) text(dir, name string) string {
	data, err := fs.ReadFile(a.root, path.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (a amd) number(dir, name string) (int64, error) {
	n, err := strconv.ParseInt(a.text(dir, name), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/%s/%s: %w", dir, name, err)
	}
	return n, nil
}
