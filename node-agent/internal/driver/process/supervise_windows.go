package process

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What the agent tells a supervisor; see tell.
var (
	signalTerminate os.Signal = syscall.SIGTERM
	signalKill      os.Signal = syscall.SIGQUIT
)

func eventName(id string, sig os.Signal) string {
	if sig == signalTerminate {
		return `Local\orchion-terminate-` + id
	}
	return `Local\orchion-kill-` + id
}

// tell sets the event that a supervisor waits for. os.Kill ends it at once.
func tell(p *os.Process, id string, sig os.Signal) error {
	if sig == os.Kill {
		return p.Kill()
	}
	name, err := windows.UTF16PtrFromString(eventName(id, sig))
	if err != nil {
		return err
	}
	event, err := windows.OpenEvent(windows.EVENT_MODIFY_STATE, false, name)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(event) }()
	return windows.SetEvent(event)
}

// apart keeps Ctrl-C in the agent's console from its supervisors.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS}
}

func supervisorEnv() []string { return systemEnv() }

func systemEnv() []string {
	root := os.Getenv("SystemRoot")
	return []string{"SystemRoot=" + root, "PATH=" + root + `\System32;` + root}
}

// baseEnv is what every program finds, with its own folder as its home.
func baseEnv(home string) map[string]string {
	root := os.Getenv("SystemRoot")
	return map[string]string{
		"SystemRoot": root, "PATH": root + `\System32;` + root,
		"USERPROFILE": home, "TEMP": home, "TMP": home,
	}
}

func noSpace(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// notRunnable says whether it is the program, or what it is given, that cannot be run: on
// this machine it never will be.
func notRunnable(err error) bool {
	for _, cause := range []error{
		fs.ErrNotExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EINVAL, exec.ErrNotFound,
		windows.ERROR_BAD_EXE_FORMAT, windows.ERROR_FILENAME_EXCED_RANGE, windows.ERROR_DIRECTORY,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// tryLock locks the file's first byte, which Windows unlocks with the process.
func tryLock(file *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(file.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

// control receives what the agent tells its supervisor.
type control struct{ terminate, kill chan os.Signal }

func listen(id string) (*control, error) {
	c := &control{terminate: make(chan os.Signal, 1), kill: make(chan os.Signal, 1)}
	for sig, to := range map[os.Signal]chan os.Signal{signalTerminate: c.terminate, signalKill: c.kill} {
		name, err := windows.UTF16PtrFromString(eventName(id, sig))
		if err != nil {
			return nil, err
		}
		event, err := windows.CreateEvent(nil, 0, 0, name)
		if err != nil {
			return nil, err
		}
		go func() { // lives as long as this process
			for {
				if _, err := windows.WaitForSingleObject(event, windows.INFINITE); err != nil {
					return
				}
				to <- sig
			}
		}()
	}
	return c, nil
}

func (c *control) stop() {}

// windowsChild is a program in a job object, which ends with all that is in it.
type windowsChild struct {
	exited chan int
	job    windows.Handle
}

func start(path string, command, env []string, dir string, stdout, stderr *os.File) (child, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, err
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		return nil, errors.Join(err, windows.CloseHandle(job))
	}
	cmd := exec.Command(path)
	cmd.Args = command
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, stdout, stderr
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, windows.CloseHandle(job))
	}
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(cmd.Process.Pid))
	if err == nil {
		err = errors.Join(windows.AssignProcessToJobObject(job, process), windows.CloseHandle(process))
	}
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait(), windows.CloseHandle(job))
	}
	c := &windowsChild{exited: make(chan int, 1), job: job}
	go func() {
		_ = cmd.Wait() // the code says it
		c.exited <- cmd.ProcessState.ExitCode()
	}()
	return c, nil
}

func (c *windowsChild) ended() <-chan int { return c.exited }

// terminate: a program without a console cannot be asked.
func (c *windowsChild) terminate() {}

// exitKilled is the exit code of what is killed, as elsewhere.
const exitKilled = 128 + 9

func (c *windowsChild) kill() {
	_ = windows.TerminateJobObject(c.job, exitKilled) // all in it may have ended
}

// killMarked: the job object has seen to it.
func killMarked(string) {}
