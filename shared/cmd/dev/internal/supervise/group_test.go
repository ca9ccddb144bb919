package supervise

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary plays the supervised programs when this is set.
const roleVar = "SUPERVISE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// play is the supervised program: its last argument is the address of the test,
// to which it holds a connection for as long as it lives.
func play(role string, args []string) int {
	conn, err := net.Dial("tcp", args[len(args)-1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	fmt.Fprintln(conn, role)
	switch role {
	case "polite":
		fmt.Println("serving")
		<-interrupted
		fmt.Println("goodbye")
		return 0
	case "stubborn":
		for range interrupted {
			fmt.Println("not yet")
		}
	case "crash":
		fmt.Println("about to fail")
		fmt.Fprintln(os.Stderr, "port 1 is in use")
		return 2
	case "parent": // starts a child of its own, and dies without stopping it
		child := exec.Command(os.Args[0], args...)
		child.Env = append(os.Environ(), roleVar+"=stubborn")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 98
		}
		<-interrupted
		return 0
	case "supervisor": // is killed by the test
		group := NewGroup(NewMux(io.Discard, 0, false))
		err := group.Start(Program{Name: "orphan", Path: os.Args[0], Args: args, Env: []string{roleVar + "=polite"}})
		if err != nil {
			return 97
		}
		select {}
	}
	return 0
}

// stage is where the programs of one test meet it.
type stage struct {
	t        *testing.T
	listener net.Listener
	out      syncBuffer
	group    *Group
}

func newStage(t *testing.T) *stage {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, listener: listener}
	s.group = NewGroup(NewMux(&s.out, 4, false))
	t.Cleanup(func() {
		s.group.Stop()
		listener.Close()
	})
	return s
}

func (s *stage) start(name, role string, grace time.Duration) {
	s.t.Helper()
	err := s.group.Start(Program{
		Name: name, Path: os.Args[0], Args: []string{s.listener.Addr().String()},
		Env: []string{roleVar + "=" + role}, Grace: grace,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// life is the connection of one living program.
type life struct {
	role string
	conn net.Conn
}

// meet waits for n programs to say which role they play.
func (s *stage) meet(n int) map[string]life {
	s.t.Helper()
	met := map[string]life{}
	for range n {
		conn, err := s.listener.Accept()
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { conn.Close() })
		role, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		role = strings.TrimSpace(role)
		met[role] = life{role, conn}
	}
	return met
}

// ends waits until the program is dead: its end of the connection is closed.
func (l life) ends(t *testing.T) {
	t.Helper()
	var reset *net.OpError
	if _, err := l.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.As(err, &reset) {
		t.Errorf("%s: %v, want the connection to end", l.role, err)
	}
}

func TestStopIsInReverseAndGraceful(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start("one", "polite", time.Minute)
	s.start("two", "polite", time.Minute)
	s.meet(2)
	s.group.Stop()
	s.group.Stop() // twice is once

	got := s.out.String()
	two, one := strings.Index(got, "two  | goodbye\n"), strings.Index(got, "one  | goodbye\n")
	if two < 0 || one < two {
		t.Errorf("output:\n%s\nwant two's goodbye, then one's", got)
	}
	select {
	case err := <-s.group.Failed():
		t.Errorf("a stopped program counts as failed: %v", err)
	default:
	}
	if err := s.group.Start(Program{Name: "late", Path: os.Args[0]}); err == nil {
		t.Error("a stopped group started another program")
	}
}

func TestStubbornIsKilled(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start("mule", "stubborn", time.Millisecond)
	alive := s.meet(1)
	s.group.Stop()
	alive["stubborn"].ends(t)
	if want := "mule | did not stop within 1ms: killed\n"; !strings.Contains(s.out.String(), want) {
		t.Errorf("output %q, want %q in it", s.out.String(), want)
	}
}

func TestFirstFailureIsReported(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start("good", "polite", time.Minute)
	s.start("bad", "crash", time.Minute)
	s.meet(2)
	err := <-s.group.Failed()
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Name != "bad" {
		t.Fatalf("Failed() = %v, want an ExitError of bad", err)
	}
	want := "bad ended unexpectedly (exit status 2); its last words: port 1 is in use"
	if err.Error() != want {
		t.Errorf("Failed() = %q, want %q", err, want)
	}
	s.group.Stop()
	if !strings.Contains(s.out.String(), "good | goodbye\n") {
		t.Errorf("output %q: the others were not stopped in good order", s.out.String())
	}
}

func TestStartOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	err := s.group.Start(Program{Name: "ghost", Path: "/no/such/program"})
	if err == nil || !strings.Contains(err.Error(), "start ghost") || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("Start() = %v, want an error naming part and path", err)
	}
}

func TestGrandchildrenDieToo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no interrupt to a test without a console; job objects end grandchildren there")
	}
	t.Parallel()
	s := newStage(t)
	s.start("ma", "parent", time.Minute)
	alive := s.meet(2)
	s.group.Stop()
	alive["parent"].ends(t)
	alive["stubborn"].ends(t)
}

func TestKilledSupervisorLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	t.Parallel()
	s := newStage(t)
	supervisor := exec.Command(os.Args[0], s.listener.Addr().String())
	supervisor.Env = append(os.Environ(), roleVar+"=supervisor")
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	alive := s.meet(2)
	if err := supervisor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = supervisor.Wait() // killed, as asked
	alive["supervisor"].ends(t)
	alive["polite"].ends(t)
}

func TestMuxKeepsLinesWhole(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	mux := NewMux(&out, 3, false)
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		w := mux.Writer(name)
		writers.Go(func() {
			for i := range 100 {
				fmt.Fprintf(w, "line %d", i) // in two writes
				fmt.Fprint(w, " of "+name+"\n")
			}
		})
	}
	writers.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 200 {
		t.Errorf("%d lines, want 200", len(lines))
	}
	next := map[string]int{}
	for _, line := range lines {
		name := line[:1]
		if want := fmt.Sprintf("%s   | line %d of %s", name, next[name], name); line != want {
			t.Fatalf("line %q, want %q", line, want)
		}
		next[name]++
	}
}

func TestLineWriter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		writes []string
		want   string
		last   string
	}{
		"unfinished line": {[]string{"one\ntw"}, "p| one\np| tw\n", "tw"},
		"windows ending":  {[]string{"one\r\n"}, "p| one\n", "one"},
		"empty line":      {[]string{"one\n\n"}, "p| one\np| \n", "one"},
		"endless line":    {[]string{strings.Repeat("x", maxLine), "y\n"}, "p| " + strings.Repeat("x", maxLine) + "\np| y\n", "y"},
		"nothing":         {nil, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			w := NewMux(&out, 0, false).Writer("p")
			w.prefix = "p| "
			for _, text := range tc.writes {
				fmt.Fprint(w, text)
			}
			w.Flush()
			if out.String() != tc.want || w.Last() != tc.last {
				t.Errorf("wrote %q, last %q; want %q and %q", out.String(), w.Last(), tc.want, tc.last)
			}
		})
	}
}

func TestColourIsPutBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	fmt.Fprintln(NewMux(&out, 1, true).Writer("a"), "red?")
	if want := "\x1b[36ma |\x1b[0m red?\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
