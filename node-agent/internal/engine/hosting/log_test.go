package hosting

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := machine(t)
		if _, err := h.Log(t.Context(), "key"); err == nil {
			t.Error("there is a log of no container")
		}
		if _, err := h.Ensure(t.Context(), want(map[string]string{"CRASH": "1"})); err != nil {
			t.Fatal(err)
		}
		read, err := h.Log(t.Context(), "key")
		if err != nil {
			t.Fatal(err)
		}
		// Followed until it has crashed; afterwards from the end.
		for _, tt := range []struct {
			tail int
			want string
		}{{0, "[loading no such device]"}, {1, "[no such device]"}, {9, "[loading no such device]"}} {
			var got []string
			if err := read(t.Context(), tt.tail, tt.tail == 0, func(e driver.LogEntry) error {
				got = append(got, e.Text)
				return nil
			}); err != nil || fmt.Sprint(got) != tt.want {
				t.Errorf("the last %d are %v, %v, want %s", tt.tail, got, err, tt.want)
			}
		}
	})
}
