// Command testjob is what the end-to-end tests run in job containers. It does
// the things of its arguments one after the other:
//
//	lines N INTERVAL   print N numbered lines to stdout, every tenth also to stderr
//	flood BYTES        print numbered lines of 100 bytes as fast as they are taken
//	letters N          print one line of N letters
//	odd                print what is no plain text
//	hold               wait for SIGTERM, then go on
//	alloc BYTES        take up memory
//	stubborn           wait for ever, whatever SIGTERM says
//	cat FILE           print a file
//	sum FILE           print a file's size and SHA-256
//	put FILE TEXT      write a file, and the folders that it is in
//	random FILE BYTES  write a file of random bytes and print its size and SHA-256
//	where              print the working directory, the user and the group
//	env NAME           print an environment variable
//	connect HOST:PORT  print "open" or "closed"
//	exit CODE          end with the code
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for args := os.Args[1:]; len(args) > 0; {
		var used int
		switch args[0] {
		case "lines":
			used = 3
			lines(ctx, args[1], args[2])
		case "flood":
			used = 2
			flood(args[1])
		case "letters":
			used = 2
			letters(args[1])
		case "odd":
			used = 1
			fmt.Print("nul\x00nul\r\n10 %\r20 %\r30 %\n\x1b[31mred\x1b[0m\na\xff\xfeb\n\xe2\x82\ntab\there\n")
		case "hold":
			used = 1
			fmt.Println("holding")
			<-ctx.Done()
			fmt.Println("told to stop")
		case "alloc":
			used = 2
			n, err := strconv.Atoi(args[1])
			check(err)
			memory := make([]byte, n)
			for i := 0; i < n; i += 4096 {
				memory[i] = 1 // touched, so that it is really there
			}
			fmt.Println("has", len(memory))
		case "stubborn":
			used = 1
			fmt.Println("stubborn") // SIGTERM is caught above, and nobody asks
			time.Sleep(time.Hour)
		case "cat":
			used = 2
			data, err := os.ReadFile(args[1])
			check(err)
			fmt.Print(string(data))
		case "sum":
			used = 2
			sum(args[1])
		case "put":
			used = 3
			check(os.MkdirAll(filepath.Dir(args[1]), 0o700))
			check(os.WriteFile(args[1], []byte(args[2]+"\n"), 0o640))
		case "random":
			used = 3
			random(args[1], args[2])
		case "where":
			used = 1
			dir, err := os.Getwd()
			check(err)
			fmt.Println(dir, os.Getuid(), os.Getgid())
		case "env":
			used = 2
			fmt.Printf("%s=%s\n", args[1], os.Getenv(args[1]))
		case "connect":
			used = 2
			connect(args[1])
		case "exit":
			code, err := strconv.Atoi(args[1])
			check(err)
			os.Exit(code)
		default:
			check(fmt.Errorf("unknown word %q", args[0]))
		}
		args = args[used:]
	}
}

func lines(ctx context.Context, count, interval string) {
	n, err := strconv.Atoi(count)
	check(err)
	pause, err := time.ParseDuration(interval)
	check(err)
	for i := 1; i <= n; i++ {
		fmt.Printf("line %d\n", i)
		if i%10 == 0 {
			fmt.Fprintf(os.Stderr, "tenth %d\n", i/10)
		}
		select {
		case <-ctx.Done():
			fmt.Println("stopped")
			os.Exit(143)
		case <-time.After(pause):
		}
	}
}

func flood(bytes string) {
	n, err := strconv.ParseInt(bytes, 10, 64)
	check(err)
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	rest := strings.Repeat("x", 100-len("flood 0000000000 \n"))
	began := time.Now()
	for line := range n / 100 {
		_, err := fmt.Fprintf(w, "flood %010d %s\n", line+1, rest)
		check(err)
	}
	check(w.Flush())
	fmt.Printf("flooded in %v\n", time.Since(began).Round(time.Millisecond))
}

func letters(count string) {
	n, err := strconv.Atoi(count)
	check(err)
	piece := strings.Repeat("y", 64<<10)
	for n > 0 {
		written, err := os.Stdout.WriteString(piece[:min(n, len(piece))])
		check(err)
		n -= written
	}
	fmt.Println()
}

func connect(address string) {
	conn, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		fmt.Println("closed", address)
		return
	}
	_ = conn.Close()
	fmt.Println("open", address)
}

func random(name, bytes string) {
	n, err := strconv.ParseInt(bytes, 10, 64)
	check(err)
	check(os.MkdirAll(filepath.Dir(name), 0o700))
	file, err := os.Create(name)
	check(err)
	_, err = io.CopyN(file, rand.Reader, n)
	check(err)
	check(file.Close())
	sum(name)
}

func sum(name string) {
	file, err := os.Open(name)
	check(err)
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	check(err)
	fmt.Printf("%d %x\n", size, hash.Sum(nil))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "testjob:", err)
		os.Exit(2)
	}
}
