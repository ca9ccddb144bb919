package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// sendLog pushes entries and leaves the log unfinished. It answers what the
// orchestrator says first.
func (a *agent) sendLog(ref *orchionv1.AttemptRef, entries ...*orchionv1.LogEntry) *orchionv1.PushLogsResponse {
	t := a.t
	t.Helper()
	stream, err := a.sessions.PushLogs(a.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Open{Open: &orchionv1.OpenLog{Ref: ref}}}); err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		return first
	}
	batch := &orchionv1.LogBatch{Entries: entries}
	if err := stream.Send(&orchionv1.PushLogsRequest{Message: &orchionv1.PushLogsRequest_Batch{Batch: batch}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return first
}

func entry(line int64, after time.Duration, text string) *orchionv1.LogEntry {
	at := time.Unix(1_900_000_000, 0).Add(after)
	return &orchionv1.LogEntry{Stream: "stdout", Line: line, Time: timestamppb.New(at), Text: text}
}

func TestPartsOfALog(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	id := h.submit(t, goodJob)
	ref := a.receive().GetAssignJob().GetRef()
	dropped := entry(3, 2*time.Second, "lines dropped here")
	dropped.Note = true
	begin := a.sendLog(ref, entry(1, 0, "good"), entry(2, time.Second, "bad"), dropped, entry(4, 2*time.Second, "good again"), entry(5, 2*time.Second, "worse"))
	if begin.GetFirst() != nil || begin.GetLast() != nil {
		t.Errorf("an empty log begins with %v", begin)
	}
	// The next stream is told where it goes on.
	begin = a.sendLog(ref)
	if begin.GetFirst().GetText() != "good" || begin.GetLast().GetText() != "worse" || begin.GetLast().GetLine() != 5 || begin.GetLastSameTime() != 2 {
		t.Errorf("the log goes on at %v", begin)
	}
	logs := "/api/jobs/" + id + "/logs"
	for query, want := range map[string]string{
		"":                            "good\nbad\norchion: lines dropped here\ngood again\nworse\n",
		"?grep=good":                  "good\norchion: lines dropped here\ngood again\n",
		"?grep=nothing":               "orchion: lines dropped here\n",
		"?since=2030-03-17T17:46:42Z": "orchion: lines dropped here\ngood again\nworse\n",
		"?since=2030-03-17T18:46:41%2B01:00&grep=b": "bad\norchion: lines dropped here\n",
		"?tail=3&grep=good":                         "orchion: lines dropped here\ngood again\n",
	} {
		if got := string(h.call(t, http.MethodGet, logs+query, "").body); got != want {
			t.Errorf("%s answers %q, want %q", query, got, want)
		}
	}
	lines := h.call(t, http.MethodGet, logs+"?tail=3", "", "Accept: application/x-ndjson")
	if !strings.Contains(string(lines.body), `"note":true`) {
		t.Errorf("as JSON the note is %s", lines.body)
	}
	h.call(t, http.MethodGet, logs+"?since=yesterday", "").
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, `since: is "yesterday"; it must be a time such as 2006-01-02T15:04:05Z`)
	h.call(t, http.MethodGet, logs+"?grep="+strings.Repeat("x", 257), "").
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, "grep: has 257 bytes; at most 256 are allowed")
}

// Many who follow one log all see all of it and its end, though they share
// what is asked of the store.
func TestManyFollowers(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	id := h.submit(t, goodJob)
	ref := a.receive().GetAssignJob().GetRef()
	var followers []*sseReader
	for range 40 {
		followers = append(followers, h.openStream(t, "/api/jobs/"+id+"/logs?follow=true", "Accept: text/event-stream"))
	}
	a.status(&orchionv1.AttemptStatus{Ref: ref, State: orchionv1.AttemptState_ATTEMPT_STATE_RUNNING})
	a.pushLogs(ref, "one", "two", "three")
	a.status(&orchionv1.AttemptStatus{Ref: ref, State: orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED, ExitCode: new(int32)})
	for _, f := range followers {
		for _, want := range []string{"one", "two", "three", "JOB_STATE_SUCCEEDED"} {
			if e := f.next(t); !strings.Contains(e.data, want) {
				t.Fatalf("a follower sees %+v, want %q", e, want)
			}
		}
	}
}
