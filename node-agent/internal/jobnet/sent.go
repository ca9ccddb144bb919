package jobnet

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// sent counts what a network has sent. Whoever is sent something may answer for as long as
// the machine remembers, which is minutes, be it by UDP or to a port of TCP that was to
// connect: the answers would reach the next job that listens there.
//
// What is said to the network's own loopback is not told apart from the rest, and what the
// kernel itself says to the neighbours not from what a job does. So a job counts as heard
// outside when there is more of both.
type sent struct {
	// packets are those of sockets, to wherever, and left are those that left an interface
	// other than the loopback, from whomever.
	packets, left uint64
}

func (s sent) outside(before sent) bool {
	return s.packets != before.packets && s.left != before.left
}

func count(root string) (sent, error) {
	var s sent
	var err error
	if s.packets, err = countSockets(root); err != nil {
		return s, err
	}
	s.left, err = countLeft(root + "proc/net/dev")
	return s, err
}

// countSockets counts all of IPv4, and of IPv6 what jobs can send: the rest of that is mostly
// the kernel's own, which never stops looking for neighbours.
func countSockets(root string) (uint64, error) {
	four, err := readTable(root + "proc/net/snmp")
	if err != nil {
		return 0, err
	}
	six, err := readLines(root + "proc/net/snmp6")
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
		return 0, err
	}
	sum, err := four.sum("Ip:OutRequests", "Tcp:OutSegs")
	if err != nil || six == nil {
		return sum, err
	}
	of6, err := six.sum("Udp6OutDatagrams", "UdpLite6OutDatagrams", "Icmp6OutEchos")
	return sum + of6, err
}

// counters are texts of the kernel's by their names.
type counters map[string]string

func (c counters) sum(names ...string) (uint64, error) {
	var sum uint64
	for _, name := range names {
		n, err := strconv.ParseUint(c[name], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the kernel's count %s: %w", name, err)
		}
		sum += n
	}
	return sum, nil
}

// readTable reads pairs of lines, names and then their values, which begin alike.
func readTable(path string) (counters, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	found := counters{}
	var names []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(names) != len(fields) || names[0] != fields[0] {
			names = fields
			continue
		}
		for i, name := range names {
			found[names[0]+name] = fields[i]
		}
	}
	return found, nil
}

// readLines reads lines of a name and its value.
func readLines(path string) (counters, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	found := counters{}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 2 {
			found[fields[0]] = fields[1]
		}
	}
	return found, nil
}

// countLeft sums the packets sent by each interface but the loopback: the tenth number of
// its line.
func countLeft(path string) (uint64, error) {
	const sentPackets = 9
	data, err := read(path)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for line := range strings.Lines(string(data)) {
		name, rest, there := strings.Cut(line, ":")
		if !there || strings.TrimSpace(name) == "lo" {
			continue // or one of the lines that head the table
		}
		fields := strings.Fields(rest)
		if len(fields) <= sentPackets {
			return 0, fmt.Errorf("%s has a line %q", path, line)
		}
		n, err := strconv.ParseUint(fields[sentPackets], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += n
	}
	return sum, nil
}
