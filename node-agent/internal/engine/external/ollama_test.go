package external

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
	"github.com/orchion/orchion/shared/testbed/tinygguf"
)

// startOllama runs a real Ollama with an empty store until the test ends.
func startOllama(t *testing.T, ctx context.Context, binary string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // free now, and nobody else asks for it in this moment

	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "serve")
	cmd.Env = append(os.Environ(), "OLLAMA_HOST="+addr, "OLLAMA_MODELS="+t.TempDir(), "HOME="+t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		told := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if !told && strings.Contains(lines.Text(), "Listening on") {
				told = true
				close(listening)
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		<-ended
		cmd.Wait() // what it says of a signal is of no interest
	})
	select {
	case <-listening:
	case <-ended:
		t.Fatal("Ollama ended at once")
	case <-ctx.Done():
		t.Fatal("Ollama did not start: ", ctx.Err())
	}
	return "http://" + addr
}

// create makes the model "tiny" in an Ollama, as a user would.
func create(t *testing.T, ctx context.Context, c *http.Client, base string) {
	t.Helper()
	weights, err := tinygguf.New(tinygguf.Options{Text: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(weights))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/blobs/"+digest, bytes.NewReader(weights))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("upload: %s", resp.Status)
	}
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = hosting.PostJSON(limit, c, base+"/api/create", map[string]any{
		"model": "tiny", "files": map[string]string{"tiny.gguf": digest}, "stream": false,
	})
	if err != nil {
		t.Fatal(err)
	}
}
