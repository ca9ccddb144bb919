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

	"github.com/orchion/orchion/shared/modelpull"
)

func wish(t *testing.T, s *Server, path string) (status int, body io.ReadCloser) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			s.Serve(far)
			return near, nil
		},
		DisableKeepAlives: true,
	}}
	res, err := client.Post("http://node"+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Body
}

func TestPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan struct{})
		s := New(Config{MaxPulling: 1, Pull: func(ctx context.Context, wanted Wanted, report func(modelpull.Progress)) error {
			report(modelpull.Progress{State: modelpull.Pulling, Percent: 50, CompletedBytes: 1, TotalBytes: 2, Reason: wanted.ID + wanted.Image})
			switch wanted.Model {
			case "none":
				return errors.New("no such model")
			case "hangs":
				<-ctx.Done()
				close(left)
				return ctx.Err()
			}
			return nil
		}})
		defer s.Close()
		for path, want := range map[string]string{
			"/models/pull?id=i&model=m&image=x": `{"state":"pulling"}` + "\n" +
				`{"state":"pulling","percent":50,"completedBytes":1,"totalBytes":2,"reason":"ix"}` + "\n" +
				`{"state":"pulled","percent":50,"completedBytes":1,"totalBytes":2}` + "\n",
			"/models/pull?id=i&model=none": `{"state":"pulling"}` + "\n" +
				`{"state":"pulling","percent":50,"completedBytes":1,"totalBytes":2,"reason":"i"}` + "\n" +
				`{"state":"failed","percent":50,"completedBytes":1,"totalBytes":2,"reason":"no such model"}` + "\n",
			"/models/pull?model=m": "id and model must be given\n",
		} {
			_, body := wish(t, s, path)
			if got, err := io.ReadAll(body); string(got) != want || err != nil {
				t.Errorf("%s answers %q, %v; want %q", path, got, err, want)
			}
		}
		_, hung := wish(t, s, "/models/pull?id=i&model=hangs")
		synctest.Wait()
		status, body := wish(t, s, "/models/pull?id=i&model=m")
		if got, _ := io.ReadAll(body); status != http.StatusServiceUnavailable || !strings.HasPrefix(string(got), "1 models are being pulled already") {
			t.Errorf("one too many: %d %s", status, got)
		}
		hung.Close()
		<-left
	})
}
