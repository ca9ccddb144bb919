package joblink

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test's own program be what runs in the containers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "job-forwarder":
			exit(ForwarderMain(context.Background(), os.Getenv, os.Stderr))
		case "test-job":
			exit(runTestJob(os.Args[2:]))
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

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

func jobStream(ctx context.Context, client *http.Client, base string) error {
	res, err := get(ctx, client, base+"/stream")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/seen", strings.NewReader(lines.Text()))
		if err != nil {
			return err
		}
		answer, err := client.Do(req)
		if err != nil {
			return err
		}
		answer.Body.Close()
	}
	return lines.Err()
}

func jobCancel(ctx context.Context, client *http.Client, base string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := get(ctx, client, base+"/hang")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	cancel()
	if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("read after cancel: %w", err)
	}
	return nil
}

// jobSteps repeats what fails, as OpenAI's clients do.
func jobSteps(ctx context.Context, client *http.Client, base string) error {
	for step := 0; step < 3; {
		res, err := get(ctx, client, fmt.Sprintf("%s/step/%d", base, step))
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				step++
				continue
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func jobAddress() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			fmt.Println(ip.IP)
			return nil
		}
	}
	return errors.New("no address beside loopback")
}

// jobUnwelcome knocks at a control port without knowing the token. Where the engine
// keeps the jobs of one network apart it does not even get there.
func jobUnwelcome(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if err := greetForwarder(conn, make([]byte, tokenSize)); err == nil {
		return errors.New("a wrong token was welcome")
	}
	return nil
}
