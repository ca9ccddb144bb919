// Package program is what runs inside the containers of the driver tests: as a static
// binary in real ones (command program/cmd), and as a function in those of the fake.
//
// Its arguments are steps, done one after the other: "out", "hello", "sleep", "1s",
// "exit", "3". Without an "exit" it ends with 0, on SIGTERM with 143.
package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Path is where the images of the tests hold the program.
const Path = "/bin/program"

// Host is what the program sees of the world around it.
type Host interface {
	// Context ends when the program must stop at once.
	Context() context.Context
	Args() []string
	Getenv(name string) string
	Stdin() io.Reader
	Stdout() io.Writer
	Stderr() io.Writer
	// Terminate is closed by a SIGTERM.
	Terminate() <-chan struct{}
	ReadFile(name string) ([]byte, error)
	WriteFile(name string, content []byte, mode fs.FileMode) error
	// Allocate takes up memory until the program ends.
	Allocate(bytes int64)
	// Listen listens at a TCP port of the container.
	Listen(port uint16) (net.Listener, error)
}

// ExitTerminated is the exit code after a SIGTERM, as a shell would give it.
const ExitTerminated = 128 + 15

// Run runs the program and gives its exit code.
func Run(h Host) int {
	r := &run{Host: h}
	args := h.Args()
	for len(args) > 0 {
		step, known := steps[args[0]]
		if !known || len(args) <= step.args {
			fmt.Fprintf(h.Stderr(), "program: no such step, or too few arguments: %q\n", args)
			return 64
		}
		if err := step.do(r, args[1:1+step.args]); err != nil {
			fmt.Fprintf(h.Stderr(), "program: %s: %v\n", args[0], err)
			return 65
		}
		if r.exited {
			return r.code
		}
		args = args[1+step.args:]
	}
	return 0
}

type run struct {
	Host
	ignoreTerm bool
	exited     bool
	code       int
}

// reachTimeout is how long "unreachable" tries: what is dropped on the way never answers.
const reachTimeout = 2 * time.Second

type step struct {
	args int
	do   func(r *run, args []string) error
}

var steps = map[string]step{
	// out TEXT, err TEXT: write a line.
	"out": {1, func(r *run, a []string) error { _, err := fmt.Fprintln(r.Stdout(), a[0]); return err }},
	"err": {1, func(r *run, a []string) error { _, err := fmt.Fprintln(r.Stderr(), a[0]); return err }},
	// raw TEXT: write without a newline.
	"raw": {1, func(r *run, a []string) error { _, err := io.WriteString(r.Stdout(), a[0]); return err }},
	// lines N: write N numbered lines.
	"lines": {1, func(r *run, a []string) error {
		n, err := strconv.Atoi(a[0])
		w := bufio.NewWriter(r.Stdout())
		for i := range n {
			fmt.Fprintf(w, "line %d\n", i+1)
		}
		return firstOf(err, w.Flush())
	}},
	// long N: write one line of N letters.
	"long": {1, func(r *run, a []string) error {
		n, err := strconv.Atoi(a[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(r.Stdout(), strings.Repeat("x", n))
		return err
	}},
	// env NAME: write a variable's value.
	"env": {1, func(r *run, a []string) error { _, err := fmt.Fprintln(r.Stdout(), r.Getenv(a[0])); return err }},
	// cat: copy standard input to standard output, to its end.
	"cat": {0, func(r *run, _ []string) error { _, err := io.Copy(r.Stdout(), r.Stdin()); return err }},
	// echo: answer one line of standard input.
	"echo": {0, func(r *run, _ []string) error {
		line, err := readLine(r.Stdin())
		if err == nil {
			_, err = fmt.Fprintf(r.Stdout(), "echo %s\n", line)
		}
		return err
	}},
	// alloc BYTES: take up memory.
	"alloc": {1, func(r *run, a []string) error {
		n, err := strconv.ParseInt(a[0], 10, 64)
		if err == nil {
			r.Allocate(n)
		}
		return err
	}},
	// ignore-term: from now on SIGTERM does nothing.
	"ignore-term": {0, func(r *run, _ []string) error { r.ignoreTerm = true; return nil }},
	// sleep DURATION; wait: for ever.
	"sleep": {1, func(r *run, a []string) error {
		d, err := time.ParseDuration(a[0])
		if err == nil {
			r.pause(time.After(d))
		}
		return err
	}},
	"wait": {0, func(r *run, _ []string) error { r.pause(nil); return nil }},
	// exit CODE.
	"exit": {1, func(r *run, a []string) error {
		code, err := strconv.Atoi(a[0])
		r.exited, r.code = true, code
		return err
	}},
	// serve PORT TEXT: answer HTTP with the text, for ever.
	"serve": {2, func(r *run, a []string) error { return r.serve(a[0], a[1]) }},
	// get URL: write what it answers.
	"get": {1, func(r *run, a []string) error { return r.get(a[0]) }},
	// write FILE TEXT; read FILE; status FIELD: a line of /proc/self/status; exists FILE.
	"write": {2, func(r *run, a []string) error { return r.WriteFile(a[0], []byte(a[1]), 0o600) }},
	"read": {1, func(r *run, a []string) error {
		data, err := r.ReadFile(a[0])
		if err == nil {
			_, err = fmt.Fprintf(r.Stdout(), "%s\n", data)
		}
		return err
	}},
	// stat FILE: write its permissions and owner.
	"stat": {1, func(r *run, a []string) error { return r.stat(a[0]) }},
	// fill FILE BYTES: write so many zeros, and say "full" when there is no space.
	"fill": {2, func(r *run, a []string) error { return r.fill(a[0], a[1]) }},
	// hostile DIR: leave there what does not want to be copied out; many DIR N: leave so many
	// files; sparse FILE BYTES: leave a file of so many bytes that are not there.
	"hostile": {1, func(_ *run, a []string) error { return hostile(a[0]) }},
	"many":    {2, func(_ *run, a []string) error { return many(a[0], a[1]) }},
	"sparse":  {2, func(_ *run, a []string) error { return sparse(a[0], a[1]) }},
	// whereami: write the working directory; whoami: user and group.
	"whereami": {0, func(r *run, _ []string) error {
		dir, err := os.Getwd()
		fmt.Fprintln(r.Stdout(), dir)
		return err
	}},
	"whoami": {0, func(r *run, _ []string) error {
		_, err := fmt.Fprintf(r.Stdout(), "%d:%d\n", os.Getuid(), os.Getgid())
		return err
	}},
	// fork: start copies of the program that wait, until there can be no more; say so.
	"fork":   {0, func(r *run, _ []string) error { return r.fork() }},
	"status": {1, func(r *run, a []string) error { return r.status(a[0]) }},
	// interfaces: write the names of the network interfaces on one line.
	"interfaces": {0, func(r *run, _ []string) error {
		list, err := net.Interfaces()
		names := make([]string, 0, len(list))
		for _, i := range list {
			names = append(names, i.Name)
		}
		fmt.Fprintln(r.Stdout(), strings.Join(names, " "))
		return err
	}},
	// address: write the IPv4 address beside loopback.
	"address": {0, func(r *run, _ []string) error { return r.address() }},
	// unreachable HOST:PORT: fail when there is a way.
	"unreachable": {1, func(r *run, a []string) error {
		limit, cancel := context.WithTimeout(r.Context(), reachTimeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(limit, "tcp", a[0])
		if err != nil {
			return nil
		}
		return firstOf(conn.Close(), fmt.Errorf("%s is reachable", a[0]))
	}},
}

// pause waits for done, a SIGTERM or the end.
func (r *run) pause(done <-chan time.Time) {
	term := r.Terminate()
	if r.ignoreTerm {
		term = nil
	}
	select {
	case <-done:
	case <-term:
		r.exited, r.code = true, ExitTerminated
	case <-r.Context().Done():
		r.exited, r.code = true, 128+9
	}
}

func (r *run) serve(port, text string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	l, err := r.Listen(uint16(n))
	if err != nil {
		return err
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, text)
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(l)
	}()
	fmt.Fprintln(r.Stdout(), "serving")
	r.pause(nil)
	err = srv.Close()
	<-served
	return err
}

func (r *run) get(url string) error {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Fprintf(r.Stdout(), "%s\n", body)
	return err
}

func (r *run) address() error {
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			_, err := fmt.Fprintln(r.Stdout(), ip.IP)
			return err
		}
	}
	return firstOf(err, errors.New("no address beside loopback"))
}

func (r *run) status(field string) error {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			_, err := fmt.Fprintln(r.Stdout(), strings.TrimSpace(value))
			return err
		}
	}
	return fmt.Errorf("no field %q", field)
}

func (r *run) stat(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.Stdout(), "%o %s\n", info.Mode().Perm(), owner(info))
	return err
}

func (r *run) fill(name, bytes string) error {
	n, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, zeros{}, n); noSpace(err) {
		_, err = fmt.Fprintln(r.Stdout(), "full")
		return err
	} else if err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.Stdout(), "written")
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// maxForks is more than any test allows.
const maxForks = 10_000

func (r *run) fork() error {
	// Threads to spare: one that Go cannot make later, at the limit, would end the program.
	var spare sync.WaitGroup
	for range 8 {
		spare.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			time.Sleep(10 * time.Millisecond)
		})
	}
	spare.Wait()
	for n := range maxForks {
		// Not waited for: the end of this program, the first of its container, is theirs.
		if err := exec.CommandContext(r.Context(), Path, "ignore-term", "wait").Start(); err != nil {
			_, err = fmt.Fprintf(r.Stdout(), "no more after %d\n", n)
			return err
		}
	}
	return fmt.Errorf("%d processes are not too many", maxForks)
}

// readLine reads byte by byte, so as to leave the rest to the next step.
func readLine(r io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[0])
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
