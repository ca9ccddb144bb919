package worker

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Labels on the named volumes of jobs. They tell a volume of ours from another of that
// name, which no job gets to see.
const (
	labelVolume = driver.LabelPrefix + "volume"
	roleVolume  = "job-volume"

	// volumePrefix begins the names that the engine knows the volumes by.
	volumePrefix = "orchion-volume-"
)

// surround adds to a container's spec where its program runs, as whom, and what it finds
// there, but for the files.
func surround(s *driver.ContainerSpec, spec *orchionv1.JobSpec) {
	container := spec.GetContainer()
	s.WorkDir, s.User = container.GetWorkingDir(), container.GetUser()
	s.Resources.ShmBytes = container.GetShmBytes()
	s.Resources.DiskBytes = spec.GetResources().GetDiskBytes()
	for _, m := range container.GetTmpfs() {
		s.Tmpfs = append(s.Tmpfs, driver.Tmpfs{Target: m.GetPath(), SizeBytes: m.GetSizeBytes()})
	}
	for _, v := range container.GetVolumes() {
		s.Mounts = append(s.Mounts, driver.Mount{
			Kind: driver.MountVolume, Source: volumePrefix + v.GetName(), Target: v.GetPath(), ReadOnly: v.GetReadOnly(),
		})
	}
}

// ensureVolumes sees to it that the job's volumes are there, and are ours.
func (a *attempt) ensureVolumes(container *orchionv1.ContainerSpec) error {
	for _, v := range container.GetVolumes() {
		labels := map[string]string{labelRole: roleVolume, labelVolume: v.GetName()}
		name := volumePrefix + v.GetName()
		if err := a.w.cfg.Driver.CreateVolume(a.work, name, labels); err != nil {
			return err
		}
		found, err := a.w.cfg.Driver.ListVolumes(a.work, labels)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return classed(orchionv1.FailureClass_FAILURE_CLASS_NODE,
				"the container engine has a volume %s that Orchion did not make; rename it, or the job's volume", name)
		}
	}
	return nil
}

// inputs are the blobs that a job is given, by their digests.
type inputs map[string]*session.Blob

// release says that they are not used any more.
func (in inputs) release() {
	for _, blob := range in {
		blob.Release()
	}
}

// fetchInputs gives the blobs that a job is given. Release them.
func (a *attempt) fetchInputs(container *orchionv1.ContainerSpec) (inputs, error) {
	in := inputs{}
	for _, f := range container.GetFiles() {
		if f.GetBlob() == "" || in[f.GetBlob()] != nil {
			continue
		}
		if a.w.cfg.Inputs == nil {
			in.release()
			return nil, classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "this node cannot fetch input files")
		}
		told := int64(-1)
		blob, err := a.w.cfg.Inputs.Get(a.work, f.GetBlob(), func(got int64) {
			percent := got * 100 / max(f.GetSizeBytes(), 1)
			if percent != told {
				told = percent
				a.preparing("fetching input file %s, %d %%", f.GetPath(), percent)
			}
		})
		if err != nil {
			in.release()
			class := orchionv1.FailureClass_FAILURE_CLASS_NODE
			if errors.Is(err, session.ErrNoBlob) {
				class = orchionv1.FailureClass_FAILURE_CLASS_INVALID
			}
			return nil, classed(class, "fetch input file %s: %w", f.GetPath(), err)
		}
		in[f.GetBlob()] = blob
	}
	return in, nil
}

// putFiles puts the job's input files into its container.
func (a *attempt) putFiles(container *orchionv1.ContainerSpec, in inputs) error {
	if len(container.GetFiles()) == 0 {
		return nil
	}
	uid, gid := ownerOf(container.GetUser())
	files := make([]driver.File, 0, len(container.GetFiles()))
	for _, f := range container.GetFiles() {
		file := driver.File{
			Path: f.GetPath(), Content: f.GetContent(), Mode: fs.FileMode(f.GetMode()) & fs.ModePerm, UID: uid, GID: gid,
		}
		if blob := in[f.GetBlob()]; blob != nil {
			file.Open, file.Size = blob.Open, f.GetSizeBytes()
		}
		files = append(files, file)
	}
	return a.engine.PutFiles(a.w.root, a.containerID, files)
}

// ownerOf gives whose the files of a job are that runs as user: root's when that is not a
// number, since only the image knows which one a name stands for.
func ownerOf(user string) (uid, gid int) {
	name, group, _ := strings.Cut(user, ":")
	uid, err := strconv.Atoi(name)
	if err != nil {
		return 0, 0
	}
	if gid, err = strconv.Atoi(group); err != nil {
		gid = 0
	}
	return uid, gid
}
