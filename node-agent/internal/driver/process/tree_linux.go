package process

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killRounds bounds how often it is looked for what is left to be killed.
const killRounds = 1000

// dieTogether makes the program that is started die with this process, and this process
// inherit what the program leaves behind. The kernel ties the former to the thread.
func dieTogether(attributes *syscall.SysProcAttr) {
	runtime.LockOSThread()
	attributes.Pdeathsig = syscall.SIGKILL
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // since Linux 3.4
}

// killDescendants kills all that descends from this process. They are stopped first: what
// is stopped makes no more of them.
func killDescendants(int) {
	for range killRounds {
		stopped := map[int]bool{}
		for {
			found := false
			for _, pid := range descendants(os.Getpid()) {
				if !stopped[pid] {
					stopped[pid], found = true, true
					_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended just now
				}
			}
			if !found {
				break
			}
		}
		if len(stopped) == 0 {
			return
		}
		for pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
		}
		time.Sleep(time.Millisecond) // they are on their way
	}
}

// descendants are the processes below one, but for those that have ended.
func descendants(root int) []int {
	children := map[int][]int{}
	for _, pid := range processes() {
		if parent, state := parentOf(pid); state != 'Z' && state != 'X' {
			children[parent] = append(children[parent], pid)
		}
	}
	var all []int
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

func processes() []int {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentOf reads the state and the parent in /proc/PID/stat, behind a name that may hold
// anything.
func parentOf(pid int) (parent int, state byte) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 'X'
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 2 {
		return 0, 'X'
	}
	parent, err = strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0, 'X'
	}
	return parent, fields[0][0]
}

// killMarked kills what a process left whose supervisor is gone: it is known by its
// environment.
func killMarked(id string) {
	mark := []byte(markVariable + "=" + id)
	for range killRounds {
		found := false
		for _, pid := range processes() {
			env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
			if err != nil || pid == os.Getpid() {
				continue // another's, or gone
			}
			for variable := range bytes.SplitSeq(env, []byte{0}) {
				if bytes.Equal(variable, mark) {
					found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
				}
			}
		}
		if !found {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
