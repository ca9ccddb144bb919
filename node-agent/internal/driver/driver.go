// Package driver runs containers on whatever engine a machine has, in types of our own.
//
// A [Driver] is one reachable engine. Package docker implements it for Docker and Podman,
// package fake in memory for tests, and package drivertest holds the suite that every
// implementation passes. Nothing here knows jobs, models or the orchestrator: callers put
// what they need to recognise into labels and find it again with [Driver.List].
//
// Everything a driver creates carries [LabelManaged], and the listing calls only ever show
// what carries it, so that no caller can reap a container that is not ours.
package driver

import (
	"context"
	"io"
	"time"
)

// Label keys common to all that we create on an engine. Callers add keys of their own
// under the same prefix.
const (
	// LabelPrefix begins every label key that belongs to Orchion.
	LabelPrefix = "orchion."
	// LabelManaged is put on every container, volume and image by the driver itself.
	LabelManaged = LabelPrefix + "managed"
)

// Driver is one container engine.
//
// Methods are safe for concurrent use and return an [*Error] for what the engine refused,
// or the context's error when that ended first. Container ids are those returned by
// Create; names are accepted wherever an id is.
type Driver interface {
	// Info describes the engine.
	Info(ctx context.Context) (Info, error)

	// Ping asks the engine whether it is there, at the least cost.
	Ping(ctx context.Context) error

	Images
	Containers
	Volumes

	// Close releases the connections to the engine. What runs there goes on running.
	Close() error
}

// Images is the part of a [Driver] that deals with images.
type Images interface {
	// ImageExists says whether ref is on the machine already.
	ImageExists(ctx context.Context, ref string) (bool, error)

	// ListImages gives the names of the images on the machine, each under all full names, with
	// tag and with digest, that EnsureImage finds it by. The newest images come first.
	ListImages(ctx context.Context) ([]string, error)

	// EnsureImage makes ref available as pull demands. progress, when not nil, is called
	// from this goroutine while the image is pulled; its percentage never falls.
	// Errors: CodeInvalid (ref, a login for another registry), CodeImageNotFound,
	// CodeImageDenied (the registry wants a login, or another), CodeRegistryUnavailable, CodeUnavailable (the engine is out of reach), CodeNoSpace.
	EnsureImage(ctx context.Context, ref string, pull Pull, progress func(PullProgress)) error

	// ImportImage makes an image of one layer from a tar stream of its root file system.
	ImportImage(ctx context.Context, img ImageImport) error

	// RemoveImage removes ref. An image that is not there is no error; one that a container
	// still uses is CodeConflict.
	RemoveImage(ctx context.Context, ref string) error
}

// Containers is the part of a [Driver] that deals with containers.
type Containers interface {
	// Create makes a container from spec, without starting it, and returns its id.
	// Errors: CodeInvalid (spec, naming the field), CodeImageNotFound, CodeConflict (name in use).
	Create(ctx context.Context, spec ContainerSpec) (string, error)

	// PutFiles writes files into a container, over what its image has there. Folders that are
	// missing are made. What is to lie in a volume is put into a container that runs.
	PutFiles(ctx context.Context, id string, files []File) error

	// CopyOut hands what lies at a path of a container, running or not, and below it to take,
	// each folder before what is in it. Links are not followed, but for those in the folders
	// on the way to the path, within the container. An error from take ends the call and is
	// returned as it is. Errors: CodeNoFile (nothing lies there).
	CopyOut(ctx context.Context, id, path string, take func(*Copied) error) error

	// Start starts a created or stopped container. Starting a running one is no error.
	Start(ctx context.Context, id string) error

	// Attach connects to the standard streams of a container. Attach before Start to miss nothing.
	Attach(ctx context.Context, id string) (*Attachment, error)

	// Exec starts another process in a running container, under the container's own limits,
	// and connects to its standard streams, Stdin included. The process's output is not part
	// of the container's log. Closing the attachment ends the process's standard input, and
	// that is all: the process should end itself at that.
	Exec(ctx context.Context, id string, command []string) (*Attachment, error)

	// Logs hands each entry of the container's output to handle, in the order the engine
	// recorded them. With Follow it goes on until the container ends, and then returns nil.
	// An error from handle ends the call and is returned as it is.
	Logs(ctx context.Context, id string, opts LogOptions, handle func(LogEntry) error) error

	// Wait blocks until a started container has ended and says how. A container that ended
	// earlier is reported at once; one never started is CodeConflict.
	Wait(ctx context.Context, id string) (Exit, error)

	// Stop sends SIGTERM and, when the container still runs after grace (rounded up to whole
	// seconds; 0 kills at once), SIGKILL. A container that does not run is no error.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// Kill sends SIGKILL. A container that does not run is no error.
	Kill(ctx context.Context, id string) error

	// Remove removes the container, running or not, with its anonymous volumes. It returns
	// once the container is gone; one that never was is no error.
	Remove(ctx context.Context, id string) error

	// Inspect describes one container.
	Inspect(ctx context.Context, id string) (Container, error)

	// List describes our containers that carry all of labels, in any state, oldest first.
	// An empty value matches any value of that key. The ports are as in Inspect; the exit
	// is left empty.
	List(ctx context.Context, labels map[string]string) ([]Container, error)

	// Stats takes one sample of a running container's use of CPU and memory.
	Stats(ctx context.Context, id string) (Stats, error)
}

// Volumes is the part of a [Driver] that deals with named volumes.
type Volumes interface {
	// CreateVolume makes a named volume. One of that name that exists already is left as it is.
	CreateVolume(ctx context.Context, name string, labels map[string]string) error

	// RemoveVolume removes a volume and what it holds. One that is not there is no error; one
	// in use is CodeConflict.
	RemoveVolume(ctx context.Context, name string) error

	// ListVolumes describes our volumes that carry all of labels, by name.
	ListVolumes(ctx context.Context, labels map[string]string) ([]Volume, error)
}

// Names of the engines, as the API shows them.
const (
	NameDocker = "docker"
	NamePodman = "podman"
)

// Info describes an engine.
type Info struct {
	Name       string // NameDocker or NamePodman
	Version    string // the engine's own version, such as "20.10.24"
	APIVersion string // the version of the Docker API spoken with it
	Endpoint   string // such as "unix:///run/podman/podman.sock"
	Rootless   bool
	// OS and Arch are those of the machine that runs the containers: "linux" and "amd64" also
	// where the engine sits in a virtual machine.
	OS, Arch string
	// GPUs says whether containers here can be given NVIDIA GPUs; NoGPUReason says why not.
	GPUs        bool
	NoGPUReason string
}

// State is where a container is in its life.
type State string

// The states of a container.
const (
	StateCreated State = "created" // never started
	StateRunning State = "running" // started, also when paused or about to restart
	StateExited  State = "exited"  // ended, or failed to start
)

// Container describes a container.
type Container struct {
	ID     string
	Name   string
	Image  string
	Labels map[string]string
	State  State
	// Ports holds the published ports; they are known while the container runs.
	Ports      []Port
	CreatedAt  time.Time
	StartedAt  time.Time // zero: never started
	FinishedAt time.Time // zero: not ended
	Exit       Exit      // of the last run, when State is StateExited
}

// HostPort gives the host's port on 127.0.0.1 that leads to the container's port.
func (c Container) HostPort(containerPort uint16) (uint16, bool) {
	for _, p := range c.Ports {
		if p.Container == containerPort && p.Host != 0 {
			return p.Host, true
		}
	}
	return 0, false
}

// Exit says how a container ended.
type Exit struct {
	Code int // the process's exit code; 128+n when signal n ended it
	// OOMKilled says that the kernel killed it for passing its memory limit. Podman before
	// 5.0 misses that (its monitor notes it in the wrong folder), and Docker does when it
	// hears of the end before the reason; see MaybeOOM.
	OOMKilled bool
	// MaybeOOM says, of an engine that does not say OOMKilled, that a container with a memory limit
	// was killed: when nobody asked for that, it has most likely passed its limit.
	MaybeOOM bool
	Error    string // the engine's word on why it could not be started, if so
	// NoFault says of Error that it tells of the machine: the program was not at fault.
	NoFault    bool
	FinishedAt time.Time
}

// Stats is one sample of what a container uses.
type Stats struct {
	Time time.Time
	// CPUTotal is the CPU time used since the start, over all cores. The use in percent of
	// one core is its growth divided by the growth of Time.
	CPUTotal time.Duration
	// MemoryBytes is the memory in use less the page cache that can be dropped.
	MemoryBytes uint64
	// MemoryLimitBytes is the container's limit, or the machine's memory when it has none.
	MemoryLimitBytes uint64
	PIDs             uint64
}

// Volume describes a named volume.
type Volume struct {
	Name   string
	Labels map[string]string
}

// Attachment is a connection to the standard streams of a container.
//
// Both outputs must be read: one that is left unread holds up the other, and in the end
// the container. Close ends the attachment, not the container.
type Attachment struct {
	// Stdin writes to the container; closing it, or the attachment, ends the container's
	// standard input for good. It is nil for a container created without OpenStdin.
	Stdin io.WriteCloser
	// Stdout and Stderr end with io.EOF when the container, or the process of Exec, does.
	Stdout, Stderr io.Reader

	close func() error
}

// NewAttachment is for implementations: closeFunc is what Close calls; it must be safe to
// call more than once.
func NewAttachment(stdin io.WriteCloser, stdout, stderr io.Reader, closeFunc func() error) *Attachment {
	return &Attachment{Stdin: stdin, Stdout: stdout, Stderr: stderr, close: closeFunc}
}

// Close ends the attachment and whatever serves it. It may be called twice.
func (a *Attachment) Close() error { return a.close() }
