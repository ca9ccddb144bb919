package hostinfo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Names, sizes and driver versions are those that owners of such machines have
// reported in public, put into the order in which nvidiaDetectColumns asks for
// them; ids such as GPU-a stand in where a report had none, and so does the
// size of the GeForce 410M. They are not recordings of our own.
func TestParseNVIDIAGpus(t *testing.T) {
	for name, test := range map[string]struct {
		out  string
		want []*orchionv1.Gpu
	}{
		"driver 440.64, GeForce RTX 2080, without the brand in its name": {
			out: "GPU-22b2c6ac-2d49-4863-197c-9c469071178a, GeForce RTX 2080, 7979, 440.64, 00000000:0A:00.0\n",
			want: []*orchionv1.Gpu{{
				Vendor: "nvidia", Model: "GeForce RTX 2080", MemoryBytes: 7979 << 20,
				DriverVersion: "440.64", Uuid: "GPU-22b2c6ac-2d49-4863-197c-9c469071178a",
			}},
		},
		"driver 580.178.04, two of eight L40S": {
			out: "GPU-a, NVIDIA L40S, 46068, 580.178.04, 00000000:03:00.0\nGPU-b, NVIDIA L40S, 46068, 580.178.04, 00000000:04:00.0\n",
			want: []*orchionv1.Gpu{
				{Vendor: "nvidia", Model: "NVIDIA L40S", MemoryBytes: 46068 << 20, DriverVersion: "580.178.04", Uuid: "GPU-a"},
				{Vendor: "nvidia", Model: "NVIDIA L40S", MemoryBytes: 46068 << 20, DriverVersion: "580.178.04", Uuid: "GPU-b"},
			},
		},
		"driver 591.76 on Windows, line ends of its own": {
			out:  "GPU-c, NVIDIA GeForce RTX 5090 Laptop GPU, 24463, 591.76, 00000000:01:00.0\r\n",
			want: []*orchionv1.Gpu{{Vendor: "nvidia", Model: "NVIDIA GeForce RTX 5090 Laptop GPU", MemoryBytes: 24463 << 20, DriverVersion: "591.76", Uuid: "GPU-c"}},
		},
		"driver 430.26, units though none were asked for": {
			out:  "GPU-d, Quadro P2000, 5050 MiB, 430.26, 00000000:01:00.0\n",
			want: []*orchionv1.Gpu{{Vendor: "nvidia", Model: "Quadro P2000", MemoryBytes: 5050 << 20, DriverVersion: "430.26", Uuid: "GPU-d"}},
		},
		"driver 580.173.02, GB10 with unified memory": {
			out:  "GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5, NVIDIA GB10, [N/A], 580.173.02, 0000000F:01:00.0\n",
			want: []*orchionv1.Gpu{{Vendor: "nvidia", Model: "NVIDIA GB10", DriverVersion: "580.173.02", Uuid: "GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5"}},
		},
		"no uuid: the place on the bus instead": {
			out:  "[Not Supported], GeForce 410M, 511, 390.157, 00000000:01:00.0\n",
			want: []*orchionv1.Gpu{{Vendor: "nvidia", Model: "GeForce 410M", MemoryBytes: 511 << 20, DriverVersion: "390.157", Uuid: "00000000:01:00.0"}},
		},
		"nothing": {out: "", want: []*orchionv1.Gpu{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseNVIDIAGpus([]byte(test.out))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseNVIDIAUsage(t *testing.T) {
	out := "GPU-a, 42, 694, 8188\nGPU-b, [N/A], [N/A], [N/A]\nGPU-c, [Not Supported], 0, 2004\n"
	got, err := parseNVIDIAUsage([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	want := []*orchionv1.GpuUsage{
		{Uuid: "GPU-a", UtilizationPercent: 42, MemoryUsedBytes: 694 << 20},
		{Uuid: "GPU-b"},
		{Uuid: "GPU-c"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseNVIDIAErrors(t *testing.T) {
	failed := "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
	for out, want := range map[string]string{
		failed: "is not the 5 columns asked for",
		"GPU-a, NVIDIA L40S, much, 580.1, 00000000:03:00.0\n": "memory.total of NVIDIA L40S",
	} {
		if _, err := parseNVIDIAGpus([]byte(out)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseNVIDIAGpus(%q) = %v, want an error with %q", out, err, want)
		}
	}
	if _, err := parseNVIDIAUsage([]byte("GPU-a, fast, 1, 2\n")); err == nil || !strings.Contains(err.Error(), "utilization.gpu") {
		t.Errorf("parseNVIDIAUsage = %v, want an error about utilization.gpu", err)
	}
}

func FuzzParseNVIDIA(f *testing.F) {
	f.Add([]byte("GPU-a, NVIDIA L40S, 46068, 580.178.04, 00000000:03:00.0\n"))
	f.Add([]byte("\"\r\n,,,,"))
	f.Fuzz(func(t *testing.T, out []byte) {
		gpus, err := parseNVIDIAGpus(out)
		if err != nil {
			return
		}
		for _, gpu := range gpus {
			if gpu.GetVendor() != vendorNVIDIA {
				t.Errorf("a GPU of %q from %q", gpu.GetVendor(), out)
			}
		}
	})
}
