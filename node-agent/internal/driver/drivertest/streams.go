package drivertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program"
)

// plain is a log entry without its time.
type plain struct {
	Index   int64
	Stream  driver.Stream
	Text    string
	Partial bool
}

func plainLog(entries []driver.LogEntry) []plain {
	out := make([]plain, 0, len(entries))
	for _, e := range entries {
		out = append(out, plain{e.Index, e.Stream, e.Text, e.Partial})
	}
	return out
}

func (s *suite) testLogs(t *testing.T) {
	// The pauses keep the two streams in order: the engines read them apart.
	id := s.start(t, s.spec("out", "one", "sleep", "200ms", "err", "two", "sleep", "200ms", "out", "", "raw", "end"))
	s.wait(t, id)
	want := []plain{
		{1, driver.Stdout, "one", false},
		{2, driver.Stderr, "two", false},
		{3, driver.Stdout, "", false},
		{4, driver.Stdout, "end", true},
	}
	entries := s.log(t, id, driver.LogOptions{})
	got := plainLog(entries)
	if len(got) > 0 {
		// Whether a last line without a newline counts as partial differs between engines.
		got[len(got)-1].Partial = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for _, e := range entries {
		if e.Time.IsZero() {
			t.Errorf("entry %d has no time", e.Index)
		}
	}
	if got := plainLog(s.log(t, id, driver.LogOptions{Skip: 1, Follow: true})); len(got) != 3 || got[0] != want[1] {
		t.Errorf("log after 1 entry: %v", got)
	}
	if got := s.log(t, id, driver.LogOptions{Skip: 9}); len(got) != 0 {
		t.Errorf("log after 9 entries: %v", got)
	}
	t.Run("handler's error", func(t *testing.T) {
		stop := errors.New("enough")
		err := s.Driver.Logs(testContext(t), id, driver.LogOptions{}, func(driver.LogEntry) error { return stop })
		if !errors.Is(err, stop) {
			t.Errorf("error = %v, want the handler's own", err)
		}
	})
	t.Run("created", func(t *testing.T) {
		if got := s.log(t, s.create(t, s.spec()), driver.LogOptions{}); len(got) != 0 {
			t.Errorf("log of a container never started: %v", got)
		}
	})
}

func (s *suite) testLogsFollow(t *testing.T) {
	const n = 5000
	// Begins while it runs, ends with the container, and has every line.
	id := s.start(t, s.spec("lines", "2500", "sleep", "500ms", "lines", "2500", "err", "last"))
	entries := s.log(t, id, driver.LogOptions{Follow: true})
	if exit := s.wait(t, id); exit.Code != 0 {
		t.Errorf("exit code = %d", exit.Code)
	}
	var stdout []string
	var last bool
	for i, e := range entries {
		if e.Index != int64(i+1) {
			t.Fatalf("entry %d has index %d", i+1, e.Index)
		}
		if e.Stream == driver.Stderr {
			last = last || e.Text == "last"
			continue
		}
		stdout = append(stdout, e.Text)
	}
	if len(stdout) != n || !last {
		t.Fatalf("%d lines of stdout, want %d; last line of stderr seen: %v", len(stdout), n, last)
	}
	for i, text := range stdout {
		if want := fmt.Sprintf("line %d", i%2500+1); text != want {
			t.Fatalf("line %d = %q, want %q", i+1, text, want)
		}
	}
	again := s.log(t, id, driver.LogOptions{})
	if diff := cmp.Diff(plainLog(entries), plainLog(again)); diff != "" {
		t.Errorf("read again, the log differs:\n%s", diff)
	}
}

func (s *suite) testLogsLongLine(t *testing.T) {
	const n = 200_000
	id := s.start(t, s.spec("long", fmt.Sprint(n), "out", "after"))
	s.wait(t, id)
	entries := s.log(t, id, driver.LogOptions{})
	var line strings.Builder
	for len(entries) > 0 {
		e := entries[0]
		entries = entries[1:]
		if len(e.Text) > driver.MaxLogText {
			t.Errorf("an entry of %d bytes, more than %d", len(e.Text), driver.MaxLogText)
		}
		line.WriteString(e.Text)
		if !e.Partial {
			break
		}
	}
	if line.String() != strings.Repeat("x", n) {
		t.Errorf("the long line came as %d bytes, want %d of x", line.Len(), n)
	}
	if len(entries) != 1 || entries[0].Text != "after" || entries[0].Partial {
		t.Errorf("after the long line: %v", entries)
	}
}

func (s *suite) testAttach(t *testing.T) {
	t.Run("both ways", func(t *testing.T) {
		ctx := testContext(t)
		spec := s.spec("echo", "err", "halfway", "cat", "exit", "4")
		spec.OpenStdin = true
		id := s.create(t, spec)
		a, err := s.Driver.Attach(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		unhang := context.AfterFunc(ctx, func() { a.Close() }) // a read that hangs must not hang the test
		defer unhang()
		if err := s.Driver.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		stderr := make(chan string, 1)
		go func() {
			text, err := io.ReadAll(a.Stderr)
			stderr <- fmt.Sprintf("%s%v", text, err)
		}()
		if _, err := io.WriteString(a.Stdin, "ping\n"); err != nil {
			t.Fatal(err)
		}
		stdout := bufio.NewReader(a.Stdout)
		if line, err := stdout.ReadString('\n'); line != "echo ping\n" || err != nil {
			t.Fatalf("answer = %q, %v", line, err)
		}
		// Much more than any buffer on the way, to see it flow both ways at once.
		payload := strings.Repeat("0123456789abcdef", 64<<10)
		written := make(chan error, 1)
		go func() {
			_, err := io.WriteString(a.Stdin, payload)
			written <- errors.Join(err, a.Stdin.Close())
		}()
		back, err := io.ReadAll(stdout)
		if err != nil || string(back) != payload {
			t.Errorf("%d of %d bytes came back, %v", len(back), len(payload), err)
		}
		if err := <-written; err != nil {
			t.Errorf("write: %v", err)
		}
		if got := <-stderr; got != "halfway\n<nil>" {
			t.Errorf("stderr = %q", got)
		}
		if exit := s.wait(t, id); exit.Code != 4 {
			t.Errorf("exit code = %d", exit.Code)
		}
	})
	t.Run("end of an attachment ends stdin", func(t *testing.T) {
		ctx := testContext(t)
		spec := s.spec("out", "ready", "cat", "out", "eof")
		spec.OpenStdin = true
		id := s.start(t, spec)
		s.waitForLog(t, id, "ready")
		a, err := s.Driver.Attach(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(a.Stdin, "word\n"); err != nil {
			t.Fatal(err)
		}
		s.waitForLog(t, id, "word")
		for range 2 {
			if err := a.Close(); err != nil { // with nobody reading
				t.Errorf("Close: %v", err)
			}
		}
		s.waitForLog(t, id, "eof")
		if exit := s.wait(t, id); exit.Code != 0 {
			t.Errorf("exit code = %d", exit.Code)
		}
	})
	t.Run("no stdin", func(t *testing.T) {
		a, err := s.Driver.Attach(testContext(t), s.start(t, s.spec("wait")))
		if err != nil {
			t.Fatal(err)
		}
		if a.Stdin != nil {
			t.Error("Stdin is not nil")
		}
		if err := a.Close(); err != nil { // with nobody reading
			t.Error(err)
		}
	})
}

func (s *suite) testExec(t *testing.T) {
	ctx := testContext(t)
	id := s.start(t, s.spec("out", "ready", "wait"))
	s.waitForLog(t, id, "ready")
	// Twice, one after the other: this is how a process that talks to us survives our restart.
	for range 2 {
		s.talk(t, id)
	}
	if got := s.log(t, id, driver.LogOptions{}); len(got) != 1 {
		t.Errorf("the container's log = %v, want its own line only", got)
	}
	_, err := s.Driver.Exec(ctx, s.create(t, s.spec()), []string{program.Path})
	wantError(t, err, driver.CodeConflict, "does not run")
	_, err = s.Driver.Exec(ctx, id, nil)
	wantError(t, err, driver.CodeInvalid, "command[0]")
}

// talk runs a process in a container and exchanges a few words with it.
func (s *suite) talk(t *testing.T, id string) {
	t.Helper()
	ctx := testContext(t)
	a, err := s.Driver.Exec(ctx, id, []string{program.Path, "echo", "cat", "err", "bye"})
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { a.Close() })
	defer stop()
	if _, err := io.WriteString(a.Stdin, "ping\n"); err != nil {
		t.Fatal(err)
	}
	stderr := make(chan string, 1)
	go func() {
		text, err := io.ReadAll(a.Stderr)
		stderr <- fmt.Sprintf("%s%v", text, err)
	}()
	stdout := bufio.NewReader(a.Stdout)
	if line, err := stdout.ReadString('\n'); line != "echo ping\n" || err != nil {
		t.Fatalf("answer = %q, %v", line, err)
	}
	if _, err := io.WriteString(a.Stdin, "rest"); err != nil {
		t.Fatal(err)
	}
	if err := a.Stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(stdout); string(rest) != "rest" || err != nil {
		t.Errorf("rest = %q, %v", rest, err)
	}
	if got := <-stderr; got != "bye\n<nil>" {
		t.Errorf("stderr = %q", got)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func (s *suite) testPorts(t *testing.T) {
	ctx := testContext(t)
	spec := s.spec("serve", "8080", "hello from inside")
	spec.Ports = []driver.Port{{Container: 8080}}
	id := s.start(t, spec)
	s.waitForLog(t, id, "serving")
	c, err := s.Driver.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	port, ok := c.HostPort(8080)
	if !ok {
		t.Fatalf("ports = %v", c.Ports)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello from inside" {
		t.Errorf("answer = %q, %v", body, err)
	}
	list, err := s.Driver.List(ctx, map[string]string{testLabel: s.run})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.ID == id {
			if got, _ := c.HostPort(8080); got != port {
				t.Errorf("List says port %d, Inspect %d", got, port)
			}
		}
	}
}
