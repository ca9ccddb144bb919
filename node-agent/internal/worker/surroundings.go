package worker

import (
	"io/fs"
	"strconv"
	"strings"

	"github.com/orchion/orchion/node-agent/internal/driver"
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

// putFiles puts the job's input files into its container.
func (a *attempt) putFiles(container *orchionv1.ContainerSpec) error {
	if len(container.GetFiles()) == 0 {
		return nil
	}
	uid, gid := ownerOf(container.GetUser())
	files := make([]driver.File, 0, len(container.GetFiles()))
	for _, f := range container.GetFiles() {
		files = append(files, driver.File{
			Path: f.GetPath(), Content: f.GetContent(), Mode: fs.FileMode(f.GetMode()) & fs.ModePerm, UID: uid, GID: gid,
		})
	}
	return a.w.cfg.Driver.PutFiles(a.w.root, a.containerID, files)
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
