package jobnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test's own program be what runs in the containers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case HolderCommand:
			exit(HolderMain(context.Background(), os.Stdin, os.Stdout))
		case "test-job":
			exit(testJob(os.Args[2]))
		}
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// testJob is what the container of a job does.
func testJob(what string) error {
	switch what {
	case "nothing":
		return nil
	case "wait":
		time.Sleep(time.Hour)
		return nil
	case "write":
		return os.WriteFile("/etc/hosts", []byte("10.0.0.1 registry.example.org\n"), 0o644)
	case "chmod":
		return os.Chmod("/etc/resolv.conf", 0o666)
	case "talk":
		return talk()
	case "whisper":
		return send("udp", "127.0.0.1:9")
	case "send":
		return send("udp", "192.0.2.1:9") // nobody has that address
	case "call":
		_ = send("tcp", "192.0.2.1:9") // in vain
		return nil
	case "resolve":
		_, _ = net.DefaultResolver.LookupHost(context.Background(), "name.invalid")
		return nil
	}
	return fmt.Errorf("no job %q", what)
}

// send sends something, without waiting for an answer.
func send(network, address string) error {
	conn, err := net.DialTimeout(network, address, 100*time.Millisecond)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("x"))
	return err
}

// talk leaves a connection behind that waits for stragglers.
func talk() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	server, err := l.Accept()
	if err != nil {
		return err
	}
	if err := client.Close(); err != nil { // the first to close is the one that waits
		return err
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read: %w", err)
	}
	return server.Close()
}
