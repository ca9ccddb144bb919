package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return string(blob.DigestOf(sum[:]))
}

// blobRequest asks for, or with a body uploads, a blob.
func (h *harness) blobRequest(t *testing.T, method, digest string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, h.http.URL+"/api/blobs/"+digest, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestBlobsOverHTTP(t *testing.T) {
	h := newHarness(t, settings{})
	digest := digestOf("hello, blob")
	response, text := h.blobRequest(t, http.MethodHead, digest, nil)
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("HEAD before: %d %s", response.StatusCode, text)
	}
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		response, text = h.blobRequest(t, http.MethodPut, digest, strings.NewReader("hello, blob"))
		if response.StatusCode != want || text != `{"digest":"`+digest+`","sizeBytes":"11"}` {
			t.Errorf("PUT: %d %s, want %d", response.StatusCode, text, want)
		}
	}
	response, text = h.blobRequest(t, http.MethodGet, digest, nil)
	if text != "hello, blob" {
		t.Errorf("GET: %d %s", response.StatusCode, text)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": "attachment; filename=" + strings.ReplaceAll(digest, ":", "-"),
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if response, text = h.blobRequest(t, http.MethodGet, digest, nil, "Range", "bytes=7-"); response.StatusCode != http.StatusPartialContent || text != "blob" {
		t.Errorf("range: %d %s", response.StatusCode, text)
	}
	if response, _ = h.blobRequest(t, http.MethodHead, digest, nil); response.StatusCode != http.StatusOK || response.ContentLength != 11 {
		t.Errorf("HEAD: %d, %d bytes", response.StatusCode, response.ContentLength)
	}

	for name, test := range map[string]struct {
		digest  string
		body    io.Reader
		status  int
		message string
	}{
		"no digest":    {"sha256:12", strings.NewReader(""), 400, `digest: is "sha256:12"; a digest is sha256: and 64 hexadecimal digits in lower case`},
		"another":      {digestOf("a"), strings.NewReader("b"), 400, "digest: is " + digestOf("a") + ", but the 1 bytes of content are " + digestOf("b")},
		"too large":    {digestOf("a"), bytes.NewReader(make([]byte, 1<<20+1)), 413, "the content has more than 1048576 bytes, which is the most that one blob may have; the orchestrator's --blob-max-bytes says so"},
		"without size": {digestOf("a"), io.MultiReader(bytes.NewReader(make([]byte, 1<<20+1))), 413, "the content has more than 1048576 bytes, which is the most that one blob may have; the orchestrator's --blob-max-bytes says so"},
	} {
		t.Run(name, func(t *testing.T) {
			response, text := h.blobRequest(t, http.MethodPut, test.digest, test.body)
			var failure struct{ Message string }
			if err := json.Unmarshal([]byte(text), &failure); err != nil || response.StatusCode != test.status || failure.Message != test.message {
				t.Errorf("got %d %s", response.StatusCode, text)
			}
		})
	}
}

func TestBlobsOverGRPC(t *testing.T) {
	h := newHarness(t, settings{})
	client := orchionv1.NewBlobsClient(h.conn)
	content := strings.Repeat("0123456789abcdef", 40_000)
	put := func(digest string, parts ...string) (*orchionv1.PutBlobResponse, error) {
		stream, err := client.PutBlob(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range parts {
			m := &orchionv1.PutBlobRequest{Data: []byte(part)}
			if i == 0 {
				m.Digest = digest
			}
			if err := stream.Send(m); err != nil {
				break // the answer says why
			}
		}
		return stream.CloseAndRecv()
	}
	for range 2 {
		answer, err := put(digestOf(content), content[:9], content[9:])
		if err != nil || answer.GetSizeBytes() != int64(len(content)) {
			t.Fatalf("%v, %v", answer, err)
		}
	}
	stream, err := client.GetBlob(t.Context(), &orchionv1.GetBlobRequest{Digest: digestOf(content)})
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.GetData()...)
	}
	if string(got) != content {
		t.Errorf("got %d bytes that differ", len(got))
	}

	_, err = put("", "a")
	wantStatus(t, err, codes.InvalidArgument, `digest: is ""; a digest is sha256: and 64 hexadecimal digits in lower case`)
	_, err = put(digestOf("b"), "a")
	wantStatus(t, err, codes.InvalidArgument, "digest: is "+digestOf("b")+", but the 1 bytes of content are "+digestOf("a"))
	_, err = put(digestOf("b"), strings.Repeat("a", maxBlobPart+1))
	wantStatus(t, err, codes.InvalidArgument, "data: has 1048577 bytes; at most 1048576 are allowed in one message")
	stream, err = client.GetBlob(t.Context(), &orchionv1.GetBlobRequest{Digest: digestOf("b")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.NotFound, "there is no blob "+digestOf("b"))
}

// A job can be given blobs that are there, and says how large they are.
func TestSubmitWithBlob(t *testing.T) {
	h := newHarness(t, settings{})
	file := &orchionv1.InputFile{Path: "/in/a", Blob: digestOf("input")}
	spec := &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{
		Image: "busybox", Files: []*orchionv1.InputFile{file},
	}}}
	_, err := h.jobs.SubmitJob(t.Context(), &orchionv1.SubmitJobRequest{Spec: spec})
	wantStatus(t, err, codes.InvalidArgument, "spec.container.files[0].blob: is "+digestOf("input")+
		", which is not there: upload it first with PUT /api/blobs/{digest}, and submit within an hour")
	h.blobRequest(t, http.MethodPut, digestOf("input"), strings.NewReader("input"))
	j, err := h.jobs.SubmitJob(t.Context(), &orchionv1.SubmitJobRequest{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if got := j.GetSpec().GetContainer().GetFiles()[0]; got.GetSizeBytes() != 5 || got.GetBlob() != digestOf("input") || got.GetMode() != 0o644 {
		t.Errorf("got %v", got)
	}

	file.Content = []byte("input")
	_, err = h.jobs.SubmitJob(t.Context(), &orchionv1.SubmitJobRequest{Spec: spec})
	wantStatus(t, err, codes.InvalidArgument, "spec.container.files[0].blob: is given beside content; a file has one or the other")
	file.Content, file.Blob = nil, "sha256:abc"
	_, err = h.jobs.SubmitJob(t.Context(), &orchionv1.SubmitJobRequest{Spec: spec})
	wantStatus(t, err, codes.InvalidArgument, `spec.container.files[0].blob: is "sha256:abc"; a digest is sha256: and 64 hexadecimal digits in lower case`)
	file.Blob = digestOf("input")
	c, err := orchionv1.NewSchedulesClient(h.conn).PutSchedule(t.Context(), &orchionv1.PutScheduleRequest{
		Name: "nightly", Cron: "0 3 * * *", Template: &orchionv1.JobTemplate{Spec: spec},
	})
	if got := c.GetTemplate().GetSpec().GetContainer().GetFiles(); err != nil || len(got) != 1 || got[0].GetSizeBytes() != 5 || got[0].GetBlob() != digestOf("input") {
		t.Errorf("a schedule's files are %v, %v", got, err)
	}
}
