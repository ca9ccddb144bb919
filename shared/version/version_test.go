package version

import (
	"runtime/debug"
	"testing"
)

func TestFromBuildInfo(t *testing.T) {
	t.Parallel()
	vcs := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	tests := map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"installed by version": {debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		"clean checkout":       {debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs("0123456789abcdef", "false")}, "dev-0123456789ab"},
		"changed checkout":     {debug.BuildInfo{Settings: vcs("0123456789abcdef", "true")}, "dev-0123456789ab-dirty"},
		"short revision":       {debug.BuildInfo{Settings: vcs("0123", "false")}, "dev-0123"},
		"no version control":   {debug.BuildInfo{}, "dev"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fromBuildInfo(&tc.info); got != tc.want {
				t.Errorf("fromBuildInfo() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLinkerVersionWins(t *testing.T) {
	Version = "v9.9.9"
	t.Cleanup(func() { Version = "" })
	if got := String(); got != "v9.9.9" {
		t.Errorf("String() = %q, want the linker's v9.9.9", got)
	}
}
