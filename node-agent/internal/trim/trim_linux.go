package trim

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropProgram takes the pages of the program's own file out of this process's memory.
// What is needed of them again is in the system's cache, one fault away. It is done for
// little, and what fails is left.
func dropProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, r := range cleanRanges(string(smaps), exe) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED)
	}
}

type addressRange struct{ start, end uintptr }

// cleanRanges finds where a file is mapped and cannot be, and was not, written to:
// elsewhere what is dropped would be lost. It reads what /proc/PID/smaps says.
func cleanRanges(smaps, file string) []addressRange {
	var clean []addressRange
	var candidate *addressRange
	for line := range strings.Lines(smaps) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 6 && strings.Contains(fields[0], "-"): // address perms offset dev inode path
			candidate = nil
			if r, ok := parseRange(fields[0]); ok && fields[1][:2] == "r-" && strings.Join(fields[5:], " ") == file {
				candidate = &r
			}
		case candidate != nil && len(fields) == 3 && fields[0] == "Anonymous:":
			if fields[1] == "0" {
				clean = append(clean, *candidate)
			}
			candidate = nil
		}
	}
	return clean
}

func parseRange(s string) (r addressRange, ok bool) {
	from, to, _ := strings.Cut(s, "-")
	start, err := strconv.ParseUint(from, 16, strconv.IntSize)
	if err != nil {
		return r, false
	}
	end, err := strconv.ParseUint(to, 16, strconv.IntSize)
	return addressRange{uintptr(start), uintptr(end)}, err == nil && start < end
}
