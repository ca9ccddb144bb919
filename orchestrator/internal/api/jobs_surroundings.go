package api

import (
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Limits on what a job finds around it in its container.
const (
	maxTmpfs        = 16
	maxVolumes      = 16
	maxFiles        = 256
	maxFileBytes    = 1 << 20 // of all contents together
	maxUser         = 129
	maxMode         = 0o777
	minTmpfsBytes   = 4 << 10
	defaultTmpfs    = 64 << 20
	defaultFileMode = 0o644

	// tmpfsMounted says what is mounted.
	tmpfsMounted = "a tmpfs"
)

var (
	// The container engines' own rules.
	userPattern   = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63})?$`)
	volumePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
)

// surroundingsFromProto checks and reads where a container's program runs, as
// whom, and what it finds there.
func surroundingsFromProto(field string, c *orchionv1.ContainerSpec, out *job.Container) error {
	if c.GetWorkingDir() != "" {
		if err := checkPath(field+".workingDir", c.GetWorkingDir()); err != nil {
			return err
		}
	}
	if user := c.GetUser(); user != "" && (len(user) > maxUser || !userPattern.MatchString(user)) {
		return fault.BadField(field+".user", "is %q; it must be USER or USER:GROUP, by name or number", clip(user))
	}
	if err := checkRange(field+".shmBytes", c.GetShmBytes(), 0, maxBytesQuantity); err != nil {
		return err
	}
	taken := &paths{what: make(map[string]string)}
	var err error
	if out.Tmpfs, err = tmpfsFromProto(field+".tmpfs", c.GetTmpfs(), taken); err != nil {
		return err
	}
	if out.Volumes, err = volumesFromProto(field+".volumes", c.GetVolumes(), taken); err != nil {
		return err
	}
	if out.Files, err = filesFromProto(field+".files", c.GetFiles(), taken); err != nil {
		return err
	}
	out.Artifacts, err = artifactsFromProto(field+".artifacts", c.GetArtifacts(), taken)
	return err
}

func tmpfsFromProto(field string, mounts []*orchionv1.TmpfsMount, taken *paths) ([]job.Tmpfs, error) {
	if err := checkCount(field, len(mounts), maxTmpfs); err != nil {
		return nil, err
	}
	var list []job.Tmpfs
	for i, m := range mounts {
		at := indexed(field, i)
		if err := taken.mount(at+".path", m.GetPath(), tmpfsMounted); err != nil {
			return nil, err
		}
		size := m.GetSizeBytes()
		if size == 0 {
			size = defaultTmpfs
		}
		if err := checkRange(at+".sizeBytes", size, minTmpfsBytes, maxBytesQuantity); err != nil {
			return nil, err
		}
		list = append(list, job.Tmpfs{Path: m.GetPath(), SizeBytes: size})
	}
	return list, nil
}

func volumesFromProto(field string, mounts []*orchionv1.VolumeMount, taken *paths) ([]job.Volume, error) {
	if err := checkCount(field, len(mounts), maxVolumes); err != nil {
		return nil, err
	}
	var list []job.Volume
	for i, m := range mounts {
		at := indexed(field, i)
		if !volumePattern.MatchString(m.GetName()) {
			return nil, fault.BadField(at+".name", "is %q; a name is 1 to 63 characters of a-z 0-9 . _ -, starting with a letter or digit", clip(m.GetName()))
		}
		if err := taken.mount(at+".path", m.GetPath(), "a volume"); err != nil {
			return nil, err
		}
		list = append(list, job.Volume{Name: m.GetName(), Path: m.GetPath(), ReadOnly: m.GetReadOnly()})
	}
	return list, nil
}

func filesFromProto(field string, files []*orchionv1.InputFile, taken *paths) ([]job.File, error) {
	if err := checkCount(field, len(files), maxFiles); err != nil {
		return nil, err
	}
	var list []job.File
	total := 0
	for i, f := range files {
		at := indexed(field, i)
		if err := taken.file(at+".path", f.GetPath()); err != nil {
			return nil, err
		}
		if f.GetMode() > maxMode {
			return nil, fault.BadField(at+".mode", "is 0%o; it must be between 0 and 0%o", f.GetMode(), maxMode)
		}
		mode := int(f.GetMode())
		if mode == 0 {
			mode = defaultFileMode
		}
		var digest blob.Digest
		if f.GetBlob() != "" {
			if len(f.GetContent()) > 0 {
				return nil, fault.BadField(at+".blob", "is given beside content; a file has one or the other")
			}
			var err error
			if digest, err = digestFromProto(at+".blob", f.GetBlob()); err != nil {
				return nil, err
			}
		}
		total += len(f.GetContent())
		list = append(list, job.File{
			Path: f.GetPath(), Content: f.GetContent(), Blob: digest, Size: int64(len(f.GetContent())), Mode: mode,
		})
	}
	if total > maxFileBytes {
		return nil, fault.BadField(field, "have %d bytes of content together; at most %d are allowed: upload larger files with PUT /api/blobs/{digest} and give their digest as blob", total, maxFileBytes)
	}
	return list, nil
}

// checkPath checks a path in a container.
func checkPath(field, text string) error {
	switch {
	case text == "":
		return fault.BadField(field, "must not be empty")
	case len(text) > maxPath:
		return fault.BadField(field, "has %d bytes; at most %d are allowed", len(text), maxPath)
	case !path.IsAbs(text) || path.Clean(text) != text:
		return fault.BadField(field, "is %q; it must be an absolute path without . and .., doubled slashes and one at its end", clip(text))
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fault.BadField(field, "holds characters that cannot be printed")
	}
	return nil
}

// paths are where a job puts something into its container, and what.
type paths struct{ what map[string]string }

// mount notes a folder that is mounted.
func (p *paths) mount(field, text, what string) error {
	if strings.ContainsAny(text, ":,") {
		return fault.BadField(field, "is %q; container engines mount nothing at a path with : or , in it", clip(text))
	}
	if err := p.free(field, text); err != nil {
		return err
	}
	p.what[text] = what
	return nil
}

// file notes a file. It must not lie where something is mounted, which would
// cover it, or be kept beyond the job.
func (p *paths) file(field, text string) error {
	if err := p.free(field, text); err != nil {
		return err
	}
	for folder := path.Dir(text); folder != "/"; folder = path.Dir(folder) {
		if what, there := p.what[folder]; there {
			return fault.BadField(field, "is %q, which lies in %s, which is %s", clip(text), clip(folder), what)
		}
	}
	for other, what := range p.what {
		if strings.HasPrefix(other, text+"/") {
			return fault.BadField(field, "is %q, below which there is %s already", clip(text), what)
		}
	}
	p.what[text] = "a file"
	return nil
}

// free checks that something may be put at a path.
func (p *paths) free(field, text string) error {
	if err := checkPath(field, text); err != nil {
		return err
	}
	if text == "/" {
		return fault.BadField(field, "is \"/\"; it must be below that")
	}
	if err := notOfTheSystem(field, text, "put into"); err != nil {
		return err
	}
	if what, there := p.what[text]; there {
		return fault.BadField(field, "is %q, where there is %s already", clip(text), what)
	}
	return nil
}

// notOfTheSystem refuses what is no part of the container's own files.
func notOfTheSystem(field, text, done string) error {
	for _, system := range []string{"/proc", "/sys", "/dev"} {
		if text == system || strings.HasPrefix(text, system+"/") {
			return fault.BadField(field, "is %q; nothing can be %s %s", clip(text), done, system)
		}
	}
	return nil
}
