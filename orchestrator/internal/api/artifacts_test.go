package api

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// push sends messages on a stream of artifacts that it opens, and answers what came last.
func (a *agent) push(conn orchionv1.ArtifactSessionClient, ref *orchionv1.AttemptRef, messages ...*orchionv1.PushArtifactsRequest) (*orchionv1.PushArtifactsResponse, error) {
	a.t.Helper()
	stream, err := conn.PushArtifacts(a.ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	open := &orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_Open{Open: &orchionv1.OpenArtifacts{Ref: ref}}}
	for _, m := range append([]*orchionv1.PushArtifactsRequest{open}, messages...) {
		if err := stream.Send(m); err != nil {
			break // Recv says why
		}
	}
	if err := stream.CloseSend(); err != nil {
		a.t.Fatal(err)
	}
	var last *orchionv1.PushArtifactsResponse
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last = m
	}
}

func part(text string) *orchionv1.PushArtifactsRequest {
	return &orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_Data{Data: []byte(text)}}
}

func listOf(list ...*orchionv1.Artifact) *orchionv1.PushArtifactsRequest {
	return &orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_List{List: &orchionv1.ArtifactList{Artifacts: list}}}
}

func left(name, content string) *orchionv1.Artifact {
	return &orchionv1.Artifact{Name: name, Path: "/" + name, SizeBytes: int64(len(content)), Digest: digestOf(content), Mode: 0o640}
}

var (
	endOfContent = &orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_End{End: &orchionv1.EndOfContent{}}}
	commit       = &orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_Commit{Commit: &orchionv1.CommitArtifacts{}}}
)

func TestArtifacts(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	session := orchionv1.NewArtifactSessionClient(h.conn)
	id := h.submit(t, `{"spec":{"container":{"image":"alpine","artifacts":[{"path":"/out/**","name":"all"},{"path":"/log","optional":true}]}}}`)
	assigned := a.receive().GetAssignJob()
	ref := assigned.GetRef()
	if specs := assigned.GetSpec().GetContainer().GetArtifacts(); len(specs) != 2 || specs[0].GetName() != "all" || !specs[1].GetOptional() {
		t.Errorf("the node is told %v", specs)
	}
	h.call(t, http.MethodGet, "/api/jobs/"+id+"/artifacts/out/a", "").wantError(t, 404, codes.NotFound, "job "+id+" left no artifacts")

	large := strings.Repeat("large ", 100_000)
	opened, err := a.push(session, ref)
	if err != nil || opened.GetOpened().GetMaxBytes() != 2<<20 || opened.GetOpened().GetMaxFileBytes() != 1<<20 || opened.GetOpened().GetCommitted() {
		t.Fatalf("opened %v, %v", opened, err)
	}
	answer, err := a.push(session, ref, part(large[:9]), part(large[9:]), endOfContent, listOf(left("out/large", large), left("out/a b.html", "<b>")), commit)
	if missing := answer.GetCommitted().GetMissing(); err != nil || len(missing) != 1 || missing[0] != digestOf("<b>") {
		t.Fatalf("with one missing: %v, %v", answer, err)
	}
	answer, err = a.push(session, ref, part("<b>"), endOfContent, endOfContent,
		listOf(left("out/large", large)), listOf(left("out/a b.html", "<b>"), left("out/empty", "")), commit)
	if err != nil || answer.GetCommitted() == nil || len(answer.GetCommitted().GetMissing()) != 0 {
		t.Fatalf("with all: %v, %v", answer, err)
	}
	if opened, err = a.push(session, ref); err != nil || !opened.GetOpened().GetCommitted() {
		t.Errorf("after that: %v, %v", opened, err)
	}

	got := h.call(t, http.MethodGet, "/api/jobs/"+id+"/artifacts?pageSize=2", "")
	var page struct {
		Artifacts []struct {
			Attempt                       int
			Name, Path, SizeBytes, Digest string
			Mode                          int
		}
		NextPageToken string
	}
	got.decode(t, &page)
	if len(page.Artifacts) != 2 || page.Artifacts[0].Name != "out/a b.html" || page.Artifacts[0].SizeBytes != "3" ||
		page.Artifacts[0].Digest != digestOf("<b>") || page.Artifacts[0].Mode != 0o640 || page.Artifacts[1].Name != "out/empty" {
		t.Errorf("first page %+v", page)
	}
	h.call(t, http.MethodGet, "/api/jobs/"+id+"/artifacts?pageSize=2&attempt=1&pageToken="+page.NextPageToken, "").decode(t, &page)
	if len(page.Artifacts) != 1 || page.Artifacts[0].Name != "out/large" {
		t.Errorf("second page %+v", page)
	}

	response, err := http.Get(h.http.URL + "/api/jobs/" + id + "/artifacts/out/a%20b.html")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || string(text) != "<b>" || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/octet-stream" ||
		response.Header.Get("Content-Disposition") != `attachment; filename="a b.html"` || response.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("download: %d %q %v %v", response.StatusCode, text, response.Header, err)
	}
	if got := h.call(t, http.MethodGet, "/api/jobs/"+id+"/artifacts/out/large?attempt=1", "", "Range: bytes=6-10"); got.status != 206 || string(got.body) != "large" {
		t.Errorf("range: %d %q", got.status, got.body)
	}
	stream, err := orchionv1.NewArtifactsClient(h.conn).GetArtifact(t.Context(), &orchionv1.GetArtifactRequest{Id: id, Name: "out/large"})
	if err != nil {
		t.Fatal(err)
	}
	var whole []byte
	for {
		m, err := stream.Recv()
		if err != nil {
			break
		}
		whole = append(whole, m.GetData()...)
	}
	if string(whole) != large {
		t.Errorf("over gRPC %d bytes came", len(whole))
	}

	archive := tar.NewReader(bytes.NewReader(h.call(t, http.MethodGet, "/api/jobs/"+id+"/artifacts.tar", "").body))
	found := ""
	for {
		header, err := archive.Next()
		if err != nil {
			break
		}
		content, err := io.ReadAll(archive)
		found += fmt.Sprintf("%s %o %s %v\n", header.Name, header.Mode, digestOf(string(content)), err)
	}
	if want := fmt.Sprintf("out/a b.html 640 %s <nil>\nout/empty 640 %s <nil>\nout/large 640 %s <nil>\n", digestOf("<b>"), digestOf(""), digestOf(large)); found != want {
		t.Errorf("the archive holds\n%s, want\n%s", found, want)
	}

	for path, want := range map[string]struct {
		status int
		code   codes.Code
		text   string
	}{
		"/artifacts/none":                {404, codes.NotFound, "attempt 1 of job " + id + ` left no artifact "none"`},
		"/artifacts/out":                 {404, codes.NotFound, "attempt 1 of job " + id + ` left no artifact "out"`},
		"/artifacts/out/a?attempt=2":     {404, codes.NotFound, "attempt 2 of job " + id + " left no artifacts"},
		"/artifacts/out/a?attempt=x":     {400, codes.InvalidArgument, `attempt: is "x"; it must be a whole number`},
		"/artifacts/%2e%2e%2fsecret":     {400, codes.InvalidArgument, `name: is "../secret"; it must be a relative path`},
		"/artifacts/":                    {400, codes.InvalidArgument, "name: must not be empty"},
		"/artifacts.tar?attempt=7":       {404, codes.NotFound, "attempt 7 of job " + id + " left no artifacts"},
		"/artifacts.tar?all=1":           {400, codes.InvalidArgument, "all: is not a query parameter here; there are attempt"},
		"/artifacts?pageToken=x":         {400, codes.InvalidArgument, "pageToken: is not a token that this orchestrator gave"},
		"/artifacts?pageSize=1&since=no": {400, codes.InvalidArgument, "since: is not a query parameter here"},
	} {
		h.call(t, http.MethodGet, "/api/jobs/"+id+path, "").wantError(t, want.status, want.code, want.text)
	}
	h.call(t, http.MethodGet, "/api/jobs/0190/artifacts", "").wantError(t, 404, codes.NotFound, `there is no job "0190"`)
}

func TestArtifactsOfNodesAreChecked(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	session := orchionv1.NewArtifactSessionClient(h.conn)
	h.submit(t, `{"spec":{"container":{"image":"alpine"}}}`)
	ref := a.receive().GetAssignJob().GetRef()
	odd := func(change func(*orchionv1.Artifact)) *orchionv1.PushArtifactsRequest {
		a := left("a", "")
		change(a)
		return listOf(a)
	}
	for name, tt := range map[string]struct {
		messages []*orchionv1.PushArtifactsRequest
		code     codes.Code
		want     string
	}{
		"opened twice":    {[]*orchionv1.PushArtifactsRequest{{Message: &orchionv1.PushArtifactsRequest_Open{}}}, codes.InvalidArgument, "message: is none that can come here"},
		"cut off content": {[]*orchionv1.PushArtifactsRequest{part("a"), commit}, codes.InvalidArgument, "data: must go on until the end of the content"},
		"too much": {[]*orchionv1.PushArtifactsRequest{part(strings.Repeat("a", 1<<20)), endOfContent, part(strings.Repeat("b", 1<<20)), endOfContent, part("c")},
			codes.InvalidArgument, "data: has come to more than 2097152 bytes, which is the most that an attempt may leave; the orchestrator's --artifact-max-bytes says so"},
		"too large":  {[]*orchionv1.PushArtifactsRequest{part(strings.Repeat("a", 1<<20)), part("a"), endOfContent}, codes.ResourceExhausted, "the content has more than 1048576 bytes"},
		"traversal":  {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Name = "../a" })}, codes.InvalidArgument, `list.artifacts[0].name: is "../a"; it must be a relative path`},
		"absolute":   {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Name = "/a" })}, codes.InvalidArgument, `list.artifacts[0].name: is "/a"; it must be a relative path`},
		"climbing":   {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Name = "a/../../b" })}, codes.InvalidArgument, "list.artifacts[0].name: is"},
		"no name":    {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Name = "" })}, codes.InvalidArgument, "list.artifacts[0].name: must not be empty"},
		"a newline":  {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Name = "a\nb" })}, codes.InvalidArgument, "list.artifacts[0].name: holds characters that cannot be printed"},
		"no digest":  {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Digest = "x" })}, codes.InvalidArgument, "list.artifacts[0].digest: is"},
		"odd mode":   {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.Mode = 0o4755 })}, codes.InvalidArgument, "list.artifacts[0].mode: is 04755"},
		"a size":     {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.SizeBytes = -1 })}, codes.InvalidArgument, "list.artifacts[0].sizeBytes: is -1"},
		"huge":       {[]*orchionv1.PushArtifactsRequest{odd(func(a *orchionv1.Artifact) { a.SizeBytes = 1 << 62 })}, codes.InvalidArgument, "list.artifacts: have more than 2097152 bytes together"},
		"twice":      {[]*orchionv1.PushArtifactsRequest{listOf(left("a", ""), left("a", ""))}, codes.InvalidArgument, `list.artifacts[1].name: is "a", which the list holds already`},
		"wrong size": {[]*orchionv1.PushArtifactsRequest{part("abc"), endOfContent, odd(func(a *orchionv1.Artifact) { a.Digest = digestOf("abc") }), commit}, codes.InvalidArgument, `list.artifacts: say that "a" has 0 bytes, but ` + digestOf("abc") + " has 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.push(session, ref, tt.messages...)
			wantStatus(t, err, tt.code, tt.want)
		})
	}
	_, err := a.push(session, &orchionv1.AttemptRef{JobId: ref.GetJobId(), Attempt: 2})
	wantStatus(t, err, codes.FailedPrecondition, "attempt 2 of job "+ref.GetJobId()+" is not node n1's, or has ended")
	list, err := orchionv1.NewArtifactsClient(h.conn).ListArtifacts(t.Context(), &orchionv1.ListArtifactsRequest{Id: ref.GetJobId()})
	if err != nil || len(list.GetArtifacts()) != 0 {
		t.Errorf("kept %v, %v", list, err)
	}
}

func TestArtifactSpecs(t *testing.T) {
	taken := &paths{what: map[string]string{"/scratch": tmpfsMounted, "/data": "a volume", "/in/a": "a file"}}
	for path, want := range map[string]string{
		"/out": "", "/out/model.bin": "", "/out/**": "", "/out/**/*.csv": "", "/out/run-?/[a-z]": "", `/out/\*`: "", "/data/x": "", "/in/a": "",
		"/scratched/a": "", "/o/**/scratch": "",
		"":                "must not be empty",
		"out":             "it must be an absolute path",
		"/":               "must be the name of a folder",
		"/out/../etc":     "it must be an absolute path without . and ..",
		"/out/":           "it must be an absolute path",
		"/**":             "its first part must be the name of a folder, without any of *, ?, [ and \\",
		"/*/a":            "its first part must be the name of a folder",
		"/out/[a":         `in which "[a" is no pattern`,
		"/out/a**":        `in which ** is only a part of "a**"`,
		"/proc/1/environ": `is "/proc/1/environ"; nothing can be kept of /proc`,
		"/dev/shm":        "nothing can be kept of /dev",
		"/scratch/*":      `is "/scratch/*", which lies in /scratch, a tmpfs: what is there is gone when the container has ended`,
		"/scratch":        "a tmpfs",
		"/out/a\x00":      "cannot be printed",
	} {
		list, err := artifactsFromProto("artifacts", []*orchionv1.ArtifactSpec{{Path: path}}, taken)
		var f *fault.Error
		switch {
		case want == "" && (err != nil || len(list) != 1 || list[0] != (job.ArtifactSpec{Path: path})):
			t.Errorf("%q: %v, %v", path, list, err)
		case want != "" && (!errors.As(err, &f) || f.Field != "artifacts[0].path" || !strings.Contains(f.Message, want)):
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
	_, err := artifactsFromProto("artifacts", []*orchionv1.ArtifactSpec{{Path: "/a"}, {Path: "/a"}}, taken)
	if err == nil || err.Error() != `artifacts[1].path: is "/a", which the list holds already` {
		t.Errorf("twice: %v", err)
	}
	_, err = artifactsFromProto("artifacts", []*orchionv1.ArtifactSpec{{Path: "/a", Name: "../b"}}, taken)
	if err == nil || err.Error() != `artifacts[0].name: is "../b"; it must be a relative path without . and .., doubled slashes and one at its end` {
		t.Errorf("name: %v", err)
	}
	_, err = artifactsFromProto("artifacts", make([]*orchionv1.ArtifactSpec, 65), taken)
	if err == nil || err.Error() != "artifacts: has 65 entries; at most 64 are allowed" {
		t.Errorf("many: %v", err)
	}
}
