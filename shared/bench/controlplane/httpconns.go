package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
)

// idleConnections are held open; the limit of open files must allow for them.
const idleConnections = 10_000

// measureHTTPConnections opens connections that ask once and then nothing, and asks beside them.
func measureHTTPConnections(ctx context.Context, _ settings, dir string) error {
	p, err := measure.StartOrchestrator(ctx, dir, "connections")
	if err != nil {
		return err
	}
	defer p.Stop()
	quiet, err := askMany(ctx, p)
	if err != nil {
		return err
	}
	before := p.ResidentBytes()
	conns := make([]net.Conn, 0, idleConnections)
	defer func() {
		for _, conn := range conns {
			_ = conn.Close() // nothing is left to be lost
		}
	}()
	for range idleConnections {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(p.URL, "http://"))
		if err != nil {
			return fmt.Errorf("%d connections are open: %w", len(conns), err)
		}
		conns = append(conns, conn)
		if err := askOnce(conn); err != nil {
			return err
		}
	}
	after := p.ResidentBytes()
	beside, err := askMany(ctx, p)
	if err != nil {
		return err
	}
	measure.Fact(fmt.Sprintf("resident memory per idle HTTP connection, of %d", len(conns)), fmt.Sprintf("%.1f kB", float64(after-before)/1000/float64(len(conns))))
	measure.Row("ms for a request beside them, median", beside.Seconds()*1000, quiet.Seconds()*1000, "%.2f")
	return nil
}

// askMany gives the median time of a request on a connection of its own.
func askMany(ctx context.Context, p *measure.Process) (time.Duration, error) {
	var times []time.Duration
	for range 500 {
		began := time.Now()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(p.URL, "http://"))
		if err != nil {
			return 0, err
		}
		err = askOnce(conn)
		_ = conn.Close() // it was answered
		if err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

func askOnce(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", res.Status)
	}
	return nil
}
