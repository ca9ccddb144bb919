package trim

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCleanRanges(t *testing.T) {
	const smaps = `00400000-00c2e000 r-xp 00000000 fd:00 1234    /usr/bin/node agent
Rss:                4096 kB
Anonymous:             0 kB
00c2e000-01500000 r--p 0082e000 fd:00 1234    /usr/bin/node agent
Anonymous:             4 kB
01500000-01600000 r--p 0082e000 fd:00 1234    /usr/bin/node agent
Anonymous:             0 kB
01600000-01650000 rw-p 01103000 fd:00 1234    /usr/bin/node agent
Anonymous:             0 kB
01650000-01660000 r--p 00000000 fd:00 99      /usr/bin/node
Anonymous:             0 kB
x-y r--p 00000000 fd:00 99      /usr/bin/node agent
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:           400 kB
7ffd0000-7ffd1000 r-xp 00000000 00:00 0       [vdso]
Anonymous:             0 kB
`
	want := []addressRange{{0x400000, 0xc2e000}, {0x1500000, 0x1600000}}
	if got := cleanRanges(smaps, "/usr/bin/node agent"); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// fileBytes is how much of this process's memory belongs to files.
func fileBytes(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestNow: the process goes on, and is smaller.
func TestNow(t *testing.T) {
	before := fileBytes(t)
	now()
	if after := fileBytes(t); after >= before {
		t.Errorf("%d bytes of files are in memory, before it was %d", after, before)
	}
}

// TestWhenSettled: what has ended before is left alone.
func TestWhenSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		WhenSettled(t.Context())
		time.Sleep(settled + time.Second)
		WhenSettled(t.Context())
	})
}
