package drivertest

import (
	"net"
	"slices"
	"strconv"
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

// testNetworksApart looks for ways from a job's container to that of an inference engine
// and to the host's loopback.
func (s *suite) testNetworksApart(t *testing.T) {
	server := s.spec("address", "serve", "8081", "model")
	server.Profile = driver.ProfileEngine
	server.Ports = []driver.Port{{Container: 8081}}
	if s.Disturb != nil {
		s.Disturb(t)
	}
	id := s.start(t, server)
	s.waitForLog(t, id, "serving")
	address := s.log(t, id, driver.LogOptions{})[0].Text
	inspected, err := s.Driver.Inspect(testContext(t), id)
	if err != nil {
		t.Fatal(err)
	}
	published, ok := inspected.HostPort(8081)
	if !ok {
		t.Fatalf("ports %v", inspected.Ports)
	}

	// It does answer there.
	inside := s.spec("get", "http://"+net.JoinHostPort(address, "8081")+"/")
	inside.Network = driver.NetworkOf(id)
	if got := s.output(t, inside); got != "model\n" {
		t.Errorf("answer within the container's own network: %q", got)
	}
	own := strings.TrimSpace(s.output(t, s.spec("address")))
	job := s.spec(
		"unreachable", net.JoinHostPort(address, "8081"),
		"unreachable", net.JoinHostPort(gateway(t, address), strconv.Itoa(int(published))),
		"unreachable", net.JoinHostPort(gateway(t, own), strconv.Itoa(int(published))),
	)
	s.output(t, job)
	// Nor is there a way from the network of another job's container that it joins.
	holder := s.start(t, s.spec("serve", "8082", "held"))
	s.waitForLog(t, holder, "serving")
	job.Network = driver.NetworkOf(holder)
	s.output(t, job)
}

// gateway guesses the host's address on a container's network: the engines take the first.
func gateway(t *testing.T, address string) string {
	t.Helper()
	ip := net.ParseIP(address).To4()
	if ip == nil {
		t.Fatalf("%q is not an IPv4 address", address)
	}
	ip[3] = 1
	return ip.String()
}
