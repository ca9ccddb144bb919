package jobnet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const noConnections = "  sl  local_address rem_address\n"

// put writes a file below a root of the test's own, as the holder would find it.
func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func freshNetwork(t *testing.T) string {
	t.Helper()
	root := t.TempDir() + "/"
	put(t, root, "proc/net/sockstat", "sockets: used 4\nTCP: inuse 1\n")
	put(t, root, "proc/net/tcp", noConnections)
	putSent(t, root, 7, 3, 2)
	put(t, root, "etc/hosts", "127.0.0.1 localhost\n")
	put(t, root, "etc/hostname", "holder\n")
	put(t, root, "etc/resolv.conf", "nameserver 127.0.0.11\n")
	return root
}

// putSent writes what the kernel says that was sent: packets of IPv4, datagrams of UDP over
// IPv6, and what left the one interface that leads outside.
func putSent(t *testing.T, root string, four, six, left int) {
	t.Helper()
	put(t, root, "proc/net/snmp", fmt.Sprintf("Ip: Forwarding InReceives OutRequests\nIp: 1 0 %d\n"+
		"Icmp: InMsgs\nIcmp: 0\nTcp: MaxConn OutSegs\nTcp: -1 0\n", four))
	put(t, root, "proc/net/snmp6", fmt.Sprintf("Ip6OutRequests   \t900\nIcmp6OutEchos   \t0\n"+
		"Udp6OutDatagrams   \t%d\nUdpLite6OutDatagrams   \t0\n", six))
	put(t, root, "proc/net/dev", fmt.Sprintf("Inter-|   Receive |  Transmit\n face |bytes packets\n"+
		"    lo: 1 9 0 0 0 0 0 0 1 9 0 0 0 0 0 0\n  eth0:270 3 0 0 0 0 0 0 180 %d 0 0 0 0 0 0\n", left))
}

// talkTo runs a holder; ask gives its answer, and close ends its standard input.
func talkTo(t *testing.T, root string) (ask func(string) string, end func(), ended <-chan error) {
	t.Helper()
	in, questions := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		questions.Close()
		answers.Close()
	})
	go func() { done <- (&holder{root: root, in: in, out: out}).serve(ctx) }()
	lines := bufio.NewScanner(answers)
	hear := func() string {
		if !lines.Scan() {
			t.Fatal("the holder has ended")
		}
		return lines.Text()
	}
	if got := hear(); got != saysReady {
		t.Fatalf("the holder says %q", got)
	}
	ask = func(question string) string {
		if _, err := fmt.Fprintln(questions, question); err != nil {
			t.Fatal(err)
		}
		return hear()
	}
	return ask, func() { questions.Close() }, done
}

func TestHolderFindsWhatAJobLeft(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(t *testing.T, root string)
		want  string
	}{
		{"nothing", func(*testing.T, string) {}, saysClean},
		{"a name for an address", func(t *testing.T, root string) { put(t, root, "etc/hosts", "10.0.0.1 localhost\n") }, "used: a file of the network was changed"},
		{"another name server", func(t *testing.T, root string) { put(t, root, "etc/resolv.conf", "nameserver 10.0.0.1\n") }, "used: a file of the network was changed"},
		{"rights", func(t *testing.T, root string) {
			if err := os.Chmod(root+"etc/hostname", 0o666); err != nil {
				t.Fatal(err)
			}
		}, "used: a file of the network was changed"},
		{"no file", func(t *testing.T, root string) {
			if err := os.Remove(root + "etc/hosts"); err != nil {
				t.Fatal(err)
			}
		}, "used: a file of the network was changed"},
		{"too long a file", func(t *testing.T, root string) { put(t, root, "etc/hosts", strings.Repeat("x", maxRead+1)) }, "is longer than 1048576 bytes"},
		{"a socket", func(t *testing.T, root string) { put(t, root, "proc/net/sockstat", "sockets: used 5\n") }, "used: sockets: used 5 and 1 connections, not sockets: used 4 and 1"},
		{"somebody outside who may answer", func(t *testing.T, root string) { putSent(t, root, 9, 3, 4) }, "used: 2 packets were sent from it"},
		{"the same by IPv6", func(t *testing.T, root string) { putSent(t, root, 7, 4, 3) }, "used: 1 packets were sent from it"},
		{"only what it said to itself", func(t *testing.T, root string) { putSent(t, root, 9, 4, 2) }, saysClean},
		{"only what the kernel said to its neighbours", func(t *testing.T, root string) { putSent(t, root, 7, 3, 5) }, saysClean},
		{"no count", func(t *testing.T, root string) { put(t, root, "proc/net/snmp", "Ip: OutRequests\nIp: many\n") }, "used: the kernel's count Ip:OutRequests: "},
		{"a connection that waits for stragglers", func(t *testing.T, root string) {
			put(t, root, "proc/net/tcp", noConnections+"   0: 0100007F:1F90 0100007F:8C02 06\n")
		}, "and 2 connections"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := freshNetwork(t)
			ask, _, _ := talkTo(t, root)
			if got := ask(askLend); got != saysLent {
				t.Fatalf("lend: %q", got)
			}
			tt.leave(t, root)
			if got := ask(askLook); !strings.Contains(got, tt.want) || tt.want != saysClean && !strings.HasPrefix(got, saysUsed) {
				t.Errorf("look: %q, want %q", got, tt.want)
			}
		})
	}
}

// What one job said to itself, and the neighbours afterwards, are not taken together.
func TestHolderCountsForEachJob(t *testing.T) {
	root := freshNetwork(t)
	ask, _, _ := talkTo(t, root)
	for i, sent := range [][3]int{{9, 3, 2}, {9, 3, 4}, {10, 3, 4}} {
		ask(askLend)
		putSent(t, root, sent[0], sent[1], sent[2])
		if got := ask(askLook); got != saysClean {
			t.Errorf("after job %d: %q", i, got)
		}
	}
}

func TestHolderEndsWithTheAgent(t *testing.T) {
	ask, end, done := talkTo(t, freshNetwork(t))
	ask(askLend)
	ask(askLook) // it is back
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}

	ask, end, done = talkTo(t, freshNetwork(t))
	ask(askLend)
	end()
	select {
	case err := <-done:
		t.Errorf("the network of a job that runs ended with the agent: %v", err)
	default:
	}
}

func TestHolderRefusesToBegin(t *testing.T) {
	root := freshNetwork(t)
	put(t, root, "proc/net/sockstat", "TCP: inuse 0\n")
	err := (&holder{root: root, in: strings.NewReader(""), out: io.Discard}).serve(t.Context())
	if err == nil || !strings.Contains(err.Error(), `proc/net/sockstat begins with "TCP: inuse 0"`) {
		t.Errorf("error = %v", err)
	}
}
