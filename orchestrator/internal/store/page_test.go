package store_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

func TestCursorSurvivesItsToken(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 1), time.Unix(1_900_000_000, 123_456_789), time.Unix(-1, 0)} {
		want := store.Cursor{CreatedAt: at.UTC(), ID: "0197a0c2-5f6e-7000-8000-0123456789ab"}
		got, err := store.ParseCursor(want.Token())
		if err != nil || got != want {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
}

func TestCursorRefusals(t *testing.T) {
	good, err := base64.RawURLEncoding.DecodeString(store.Cursor{CreatedAt: time.Unix(1, 0), ID: "j1"}.Token())
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"nothing":         {},
		"another version": append([]byte{9}, good[1:]...),
		"no id":           good[:9],
		"cut off":         good[:5],
		"an odd id":       append(good[:9:9], "../x"...),
	} {
		_, err := store.ParseCursor(base64.RawURLEncoding.EncodeToString(raw))
		if fault.CodeOf(err) != fault.Invalid || err.Error() != "pageToken: is not a token of this list; leave it empty to begin at the newest job" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCursorOrder(t *testing.T) {
	at := time.Unix(100, 0)
	cursor := store.Cursor{CreatedAt: at, ID: "j5"}
	for _, test := range []struct {
		job  job.Job
		want bool
	}{
		{job.Job{CreatedAt: at.Add(1), ID: "j1"}, true},
		{job.Job{CreatedAt: at, ID: "j6"}, true},
		{job.Job{CreatedAt: at, ID: "j5"}, true},
		{job.Job{CreatedAt: at, ID: "j4"}, false},
		{job.Job{CreatedAt: at.Add(-1), ID: "j9"}, false},
	} {
		if got := cursor.Newer(test.job); got != test.want {
			t.Errorf("job %s of %v before the cursor: %v, want %v", test.job.ID, test.job.CreatedAt, got, test.want)
		}
	}
}
