package modelshare

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files are the files of a model, by their digest.
type files map[string]string

func (f files) CopyFile(ctx context.Context, replicaID, digest string, offset int64, begin func(int64) (io.Writer, error)) error {
	content, ok := f[digest]
	if replicaID != "r1" || !ok {
		return ErrNoFile
	}
	w, err := begin(int64(len(content)))
	if err != nil {
		return err
	}
	switch digest {
	case "broken":
		io.WriteString(w, content[:1])
		return errors.New("the engine is gone")
	case "hung":
		<-ctx.Done()
		return ctx.Err()
	}
	_, err = io.WriteString(w, content[offset:])
	return err
}

// ask makes one request over a connection of its own.
func ask(t *testing.T, s *Server, path string) (status int, body string, err error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			s.Serve(far)
			return near, nil
		},
		DisableKeepAlives: true,
	}}
	res, err := client.Get("http://node" + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, string(data), err
}

func TestServer(t *testing.T) {
	s := New(Config{Source: files{"": "manifest", "sha256:1": "0123456789", "broken": "broken"}})
	defer s.Close()
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/replicas/r1/manifest", 200, "manifest"},
		{"/replicas/r1/blobs/sha256:1", 200, "0123456789"},
		{"/replicas/r1/blobs/sha256:1?offset=4", 200, "456789"},
		{"/replicas/r1/blobs/sha256:1?offset=10", 200, ""},
		{"/replicas/r1/blobs/sha256:1?offset=11", 500, "the file has 10 bytes, and 11 were to be left out\n"},
		{"/replicas/r1/blobs/sha256:1?offset=-1", 400, "offset must be a number of bytes\n"},
		{"/replicas/r1/blobs/sha256:2", 404, "this node has no such file of a model\n"},
		{"/replicas/r2/manifest", 404, "this node has no such file of a model\n"},
		{"/etc/passwd", 404, "404 page not found\n"},
	} {
		if status, body, err := ask(t, s, tt.path); status != tt.status || body != tt.body || err != nil {
			t.Errorf("%s answers %d %q, %v; want %d %q", tt.path, status, body, err, tt.status, tt.body)
		}
	}
	if _, body, err := ask(t, s, "/replicas/r1/blobs/broken"); err == nil {
		t.Errorf("a file that broke off looks whole: %q", body)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 << 20
		s := New(Config{Source: files{"big": strings.Repeat("x", size)}, Rate: 1 << 20})
		defer s.Close()
		begun := time.Now()
		if _, body, err := ask(t, s, "/replicas/r1/blobs/big"); len(body) != size || err != nil {
			t.Fatalf("got %d bytes, %v", len(body), err)
		}
		if took := time.Since(begun); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("10 MiB at 1 MiB/s took %v", took)
		}
	})
}

func TestNotTooManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Source: files{"hung": "x", "": "manifest"}, MaxSending: 1})
		hung := make(chan error, 1)
		go func() {
			_, _, err := ask(t, s, "/replicas/r1/blobs/hung")
			hung <- err
		}()
		synctest.Wait()
		if status, body, err := ask(t, s, "/replicas/r1/manifest"); status != 503 || !strings.Contains(body, "1 files are being given already") {
			t.Errorf("answered %d %q, %v", status, body, err)
		}
		s.Close()
		s.Close()
		if err := <-hung; err == nil {
			t.Error("Close did not break off what was being given")
		}
		if _, _, err := ask(t, s, "/replicas/r1/manifest"); err == nil {
			t.Error("a closed server answers")
		}
	})
}
