package engine

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Status
		r := NewReporter(func(s Status) { got = append(got, s) })
		r.State(StatePending, "looking")
		r.Part(25)
		r.Pulling(0, 0, 0, "image")
		r.Pulling(40, 40, 100, "image") // too soon after the last: not handed on
		<-time.After(reportInterval)
		r.Pulling(100, 100, 100, "image")
		r.Part(100)
		r.Pulling(0, 0, 300, "model")
		<-time.After(reportInterval)
		r.Pulling(50, 150, 300, "model")
		<-time.After(reportInterval)
		r.Pulling(20, 60, 300, "model") // never falls
		r.State(StateLoading, "loading")
		r.Ready()
		want := []Status{
			{StatePending, 0, 0, 0, "looking"},
			{StatePulling, 0, 0, 0, "image"},
			{StatePulling, 25, 100, 100, "image"},
			{StatePulling, 25, 100, 400, "model"},
			{StatePulling, 62.5, 250, 400, "model"},
			{StatePulling, 62.5, 250, 400, "model"},
			{StateLoading, 62.5, 250, 400, "loading"},
			{StateReady, 100, 400, 400, ""},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{ReplicaID: "r", Model: "m"}, ""},
		{Spec{Model: "m"}, "replica id: must have 1 to 128"},
		{Spec{ReplicaID: "r"}, "model: must have 1 to 350"},
		{Spec{ReplicaID: "r", Model: strings.Repeat("m", 400)}, "model: must have"},
		{Spec{ReplicaID: "r", Model: "m", Image: "A B"}, `image: "A B"`},
		{Spec{ReplicaID: "r", Model: "m", Args: make([]string, 200)}, "args: 200 are too many"},
		{Spec{ReplicaID: "r", Model: "m", Args: []string{"", strings.Repeat("x", 5000)}}, "args[1]: 5000 characters"},
	} {
		err := tt.spec.Validate()
		if (tt.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("error = %v, want %q", err, tt.want)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("connection refused")
	err := &Error{Code: CodeUnavailable, Engine: "ollama", Op: "pull model m", Message: "no answer", Err: cause, Hint: "wait"}
	if got, want := err.Error(), "ollama: pull model m: no answer: connection refused; wait"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) || CodeOf(err) != CodeUnavailable || CodeOf(nil) != "" || CodeOf(cause) != CodeFailed {
		t.Error("codes or causes are lost")
	}
	for code, want := range map[Code]bool{CodeUnavailable: true, CodeFailed: true, CodeModelNotFound: false, CodeInvalid: false, CodeNoResources: false} {
		if got := (&Error{Code: code}).Temporary(); got != want {
			t.Errorf("Temporary() of %s = %v", code, got)
		}
	}
}
