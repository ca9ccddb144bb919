package hostinfo

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func sysfs(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return root
}

func TestAMD(t *testing.T) {
	const card0, card1 = "sys/class/drm/card0/device/", "sys/class/drm/card1/device/"
	probe := amd{root: sysfs(map[string]string{
		// Intel's graphics beside it are not AMD's.
		card0 + "vendor": "0x8086",
		card0 + "device": "0x3e92",
		// A Radeon RX 570 as Linux 5.8 shows it: no id of its own.
		card1 + "vendor":              "0x1002",
		card1 + "device":              "0x67df",
		card1 + "mem_info_vram_total": "4294967296",
		card1 + "mem_info_vram_used":  "318304256",
		card1 + "gpu_busy_percent":    "7",
		card1 + "uevent":              "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:67DF\nPCI_SLOT_NAME=0000:0b:00.0",
		// Connectors are no cards.
		"sys/class/drm/card1-HDMI-A-1/status": "connected",
		"usr/share/misc/pci.ids":              "# list\n1001  Kolter Electronic\n\t67df  not this one\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n\t67df  Ellesmere [Radeon RX 470/480/570/580]\n\t\t1002 0b37  Radeon RX 480\n",
	})}
	gpus, err := probe.detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []*orchionv1.Gpu{{
		Vendor: "amd", Model: "Ellesmere [Radeon RX 470/480/570/580]", MemoryBytes: 4 << 30, Uuid: "0000:0b:00.0",
	}}
	if diff := cmp.Diff(want, gpus, protocmp.Transform()); diff != "" {
		t.Errorf("GPUs (-want +got):\n%s", diff)
	}
	usage, err := probe.usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantUsage := []*orchionv1.GpuUsage{{Uuid: "0000:0b:00.0", UtilizationPercent: 7, MemoryUsedBytes: 318304256}}
	if diff := cmp.Diff(wantUsage, usage, protocmp.Transform()); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func TestAMDNames(t *testing.T) {
	const card0 = "sys/class/drm/card0/device/"
	files := map[string]string{
		card0 + "vendor":              "0x1002",
		card0 + "device":              "0x744c",
		card0 + "mem_info_vram_total": "25753026560",
		card0 + "unique_id":           "9246c5b6b7a5a1f4",
		"sys/module/amdgpu/version":   "6.10.5",
	}
	gpus, err := amd{root: sysfs(files)}.detect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []*orchionv1.Gpu{{
		Vendor: "amd", Model: "AMD GPU 1002:744c", MemoryBytes: 25753026560,
		DriverVersion: "6.10.5", Uuid: "GPU-9246c5b6b7a5a1f4",
	}}
	if diff := cmp.Diff(want, gpus, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	files[card0+"product_name"] = "AMD Radeon RX 7900 XTX"
	gpus, err = amd{root: sysfs(files)}.detect(t.Context())
	if err != nil || gpus[0].GetModel() != "AMD Radeon RX 7900 XTX" {
		t.Errorf("got %v, %v; want the product name", gpus, err)
	}

	files[card0+"mem_info_vram_total"] = "plenty"
	if _, err := (amd{root: sysfs(files)}).detect(t.Context()); err == nil {
		t.Error("a size that is no number was no error")
	}
}

func TestAMDWithoutGraphics(t *testing.T) {
	gpus, err := amd{root: fstest.MapFS{}}.detect(t.Context())
	if err != nil || len(gpus) != 0 {
		t.Errorf("got %v, %v; want nothing", gpus, err)
	}
}
