package drivertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// testIsolation looks from inside at what a container may do.
func (s *suite) testIsolation(t *testing.T) {
	steps := []string{"status", "CapEff", "status", "CapBnd", "status", "NoNewPrivs"}
	got := s.output(t, s.spec(steps...))
	if want := "0000000000000000\n0000000000000000\n1\n"; got != want {
		t.Errorf("job: effective and bounding capabilities, no-new-privileges = %q, want %q", got, want)
	}
	engine := s.spec(steps...)
	engine.Profile = driver.ProfileEngine
	lines := strings.Fields(s.output(t, engine))
	if len(lines) != 3 || lines[0] == "0000000000000000" || lines[2] != "1" {
		t.Errorf("engine: capabilities and no-new-privileges = %q", lines)
	}
	user := s.spec("status", "Uid")
	user.User = "1234:2345"
	if got := strings.Fields(s.output(t, user)); !slices.Equal(got, []string{"1234", "1234", "1234", "1234"}) {
		t.Errorf("Uid = %q", got)
	}
}

func (s *suite) testNetworks(t *testing.T) {
	none := s.spec("interfaces")
	none.Network = driver.NetworkNone
	if got := s.output(t, none); got != "lo\n" {
		t.Errorf("interfaces on network none: %q", got)
	}

	// One without any network of its own reaches another through the one they share.
	server := s.spec("serve", "8081", "shared")
	server.Network = driver.NetworkNone
	id := s.start(t, server)
	s.waitForLog(t, id, "serving")
	client := s.spec("get", "http://127.0.0.1:8081/")
	client.Network = driver.NetworkOf(id)
	if got := s.output(t, client); got != "shared\n" {
		t.Errorf("answer over the shared network: %q", got)
	}
}
