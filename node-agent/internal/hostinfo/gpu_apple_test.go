package hostinfo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestParseSystemProfiler(t *testing.T) {
	for name, test := range map[string]struct {
		profile       string
		memory, limit int64
		want          []*orchionv1.Gpu
	}{
		"M1, macOS 11: the name is a key of a translation": {
			profile: `{"SPDisplaysDataType": [{"_name": "kHW_AppleM1Item", "spdisplays_metalfamily": "spdisplays_mtlgpufamilyapple7",
				"spdisplays_vendor": "sppci_vendor_Apple", "sppci_model": "Apple M1", "sppci_cores": "8",
				"spdisplays_ndrvs": [{"_name": "Color LCD"}]}]}`,
			memory: 9 << 30,
			want:   []*orchionv1.Gpu{{Vendor: "apple", Model: "Apple M1", MemoryBytes: 6 << 30, Uuid: "gpu0"}},
		},
		"M3 Pro, macOS 15: the name alone": {
			profile: `{"SPDisplaysDataType": [{"_name": "Apple M3 Pro", "spdisplays_mtlgpufamilysupport": "spdisplays_metal3"}]}`,
			memory:  48 << 30,
			want:    []*orchionv1.Gpu{{Vendor: "apple", Model: "Apple M3 Pro", MemoryBytes: 36 << 30, Uuid: "gpu0"}},
		},
		"a limit set by the owner": {
			profile: `{"SPDisplaysDataType": [{"_name": "Apple M4 Max", "spdisplays_vendor": "sppci_vendor_Apple"}]}`,
			memory:  128 << 30, limit: 120 << 30,
			want: []*orchionv1.Gpu{{Vendor: "apple", Model: "Apple M4 Max", MemoryBytes: 120 << 30, Uuid: "gpu0"}},
		},
		"iMac Pro: a Radeon; Intel's graphics are left out": {
			profile: `{"SPDisplaysDataType": [
				{"_name": "kHW_IntelIris6100Item", "sppci_model": "Intel Iris Graphics 6100", "spdisplays_vendor": "Intel"},
				{"_name": "Radeon Pro Vega 64", "sppci_model": "Radeon Pro Vega 64", "spdisplays_vendor": "sppci_vendor_amd",
				 "spdisplays_vram": "16 GB", "spdisplays_device-id": "0x6860"}]}`,
			memory: 32 << 30,
			want:   []*orchionv1.Gpu{{Vendor: "amd", Model: "Radeon Pro Vega 64", MemoryBytes: 16 << 30, Uuid: "0x6860"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseSystemProfiler([]byte(test.profile), test.memory, test.limit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := parseSystemProfiler([]byte("no json"), 1, 0); err == nil || !strings.Contains(err.Error(), "system_profiler") {
		t.Errorf("got %v, want an error that names system_profiler", err)
	}
}
