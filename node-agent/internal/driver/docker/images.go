package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// ImageExists implements driver.Images.
func (d *Driver) ImageExists(ctx context.Context, ref string) (bool, error) {
	name, err := d.resolveImage(ctx, "find image", ref)
	return name != "", err
}

// resolveImage gives the full name under which the engine has the image, "" when it does
// not have it.
func (d *Driver) resolveImage(ctx context.Context, op, ref string) (string, error) {
	full, err := driver.NormalizeReference(ref)
	if err != nil {
		return "", d.invalid(op, "", err)
	}
	candidates := []string{full}
	if local, ok := driver.LocalReference(ref); ok && d.podman() {
		candidates = append(candidates, local)
	}
	for _, candidate := range candidates {
		_, err := d.cli.ImageInspect(ctx, candidate)
		if err == nil {
			return candidate, nil
		}
		if !errdefs.IsNotFound(err) {
			return "", d.fail(ctx, op, ref, err)
		}
	}
	return "", nil
}

// EnsureImage implements driver.Images.
func (d *Driver) EnsureImage(ctx context.Context, ref string, pull driver.Pull, progress func(driver.PullProgress)) error {
	const op = "pull image"
	if err := pull.Validate(ref); err != nil {
		return d.invalid(op, ref, err)
	}
	if pull.Policy != driver.PullAlways {
		name, err := d.resolveImage(ctx, op, ref)
		if err != nil || name != "" {
			return err
		}
	}
	if pull.Policy == driver.PullNever {
		return d.imageMissing(op, ref, "pull it on this machine first, or use pull policy "+string(driver.PullIfNotPresent))
	}
	full, err := driver.NormalizeReference(ref)
	if err != nil {
		return d.invalid(op, "", err)
	}
	if progress == nil {
		progress = func(driver.PullProgress) {}
	}
	return d.pull(ctx, full, pull.Login, progress)
}

func (d *Driver) imageMissing(op, ref, hint string) error {
	return &driver.Error{
		Code: driver.CodeImageNotFound, Engine: d.name, Op: op, Subject: ref,
		Err: errors.New("the image is not on this machine"), Hint: hint,
	}
}

// pull pulls an image by its full name, as somebody or, with nil, nobody.
func (d *Driver) pull(ctx context.Context, full string, login *driver.Login, report func(driver.PullProgress)) error {
	auth, err := encodeLogin(login)
	if err != nil {
		return d.invalid("pull image", full, err)
	}
	body, err := d.cli.ImagePull(ctx, full, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		failure := d.fail(ctx, "pull image", full, err)
		// Docker refuses some pulls at once; what it says then is the registry's word.
		switch code := driver.CodeOf(failure); {
		case ctx.Err() != nil:
		case code == driver.CodeInternal, code == driver.CodeNotFound, code == driver.CodeDenied && !isPermission(err):
			return d.pullFailure(full, err.Error())
		}
		return failure
	}
	defer body.Close()
	progress := newPullProgress()
	for dec := json.NewDecoder(body); ; {
		var msg streamMessage
		if err := dec.Decode(&msg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return d.fail(ctx, "pull image", full, err)
		}
		if msg.Error != nil {
			if err := ctx.Err(); err != nil {
				return d.fail(ctx, "pull image", full, err)
			}
			return d.pullFailure(full, msg.Error.Message)
		}
		if p, changed := progress.add(msg); changed {
			report(p)
		}
	}
	if err := ctx.Err(); err != nil {
		return d.fail(ctx, "pull image", full, err)
	}
	// A stream that ends early without an error would otherwise pass for success.
	if name, err := d.resolveImage(ctx, "pull image", full); err != nil {
		return err
	} else if name == "" {
		return d.pullFailure(full, "the engine ended the pull early: unexpected EOF")
	}
	report(progress.done())
	return nil
}

// hubServer is how Docker Hub is called in a login.
const hubServer = "https://index.docker.io/v1/"

// encodeLogin makes a header of a login; empty for none.
func encodeLogin(login *driver.Login) (string, error) {
	if login == nil {
		return "", nil
	}
	config := registry.AuthConfig{Username: login.Username, Password: login.Password, ServerAddress: login.Registry}
	if login.Registry == "docker.io" {
		config.ServerAddress = hubServer
	}
	if login.Token != "" {
		config.Username, config.Password, config.IdentityToken = "", "", login.Token
	}
	return registry.EncodeAuthConfig(config)
}

// RemoveImage implements driver.Images.
func (d *Driver) RemoveImage(ctx context.Context, ref string) error {
	name, err := d.resolveImage(ctx, "remove image", ref)
	if err != nil || name == "" {
		return err
	}
	if _, err := d.cli.ImageRemove(ctx, name, image.RemoveOptions{PruneChildren: true}); err != nil && !errdefs.IsNotFound(err) {
		return d.fail(ctx, "remove image", ref, err)
	}
	return nil
}

// ImportImage implements driver.Images. It loads an archive as "docker save" writes it
// rather than importing a tarball with changes to its configuration, since the engines
// parse those changes differently.
func (d *Driver) ImportImage(ctx context.Context, img driver.ImageImport) error {
	const op = "import image"
	full, err := driver.NormalizeReference(img.Ref)
	if err != nil {
		return d.invalid(op, "", err)
	}
	if err := driver.ValidateLabels(img.Labels); err != nil {
		return d.invalid(op, full, err)
	}
	sys, err := d.cli.Info(ctx)
	if err != nil {
		return d.fail(ctx, op, full, err)
	}

	layer, size, diffID, err := spool(img.RootFS)
	if err != nil {
		return d.invalid(op, full, fmt.Errorf("read root file system: %w", err))
	}
	defer func() {
		layer.Close()
		os.Remove(layer.Name())
	}()
	config, err := json.Marshal(importConfig(img, sys.OSType, goArch(sys.Architecture), diffID))
	if err != nil {
		return d.invalid(op, full, err)
	}

	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(writeArchive(pw, full, config, layer, size))
	}()
	resp, err := d.cli.ImageLoad(ctx, pr)
	pr.CloseWithError(errors.New("the engine stopped reading"))
	<-done
	if err != nil {
		return d.fail(ctx, op, full, err)
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var msg streamMessage
		if err := dec.Decode(&msg); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return d.fail(ctx, op, full, err)
		}
		if msg.Error != nil {
			return d.fail(ctx, op, full, errors.New(msg.Error.Message))
		}
	}
}

// spool copies r into a temporary file, since the archive must say the layer's size and
// digest before its content.
func spool(r io.Reader) (f *os.File, size int64, diffID digest.Digest, err error) {
	f, err = os.CreateTemp("", "orchion-layer-*.tar")
	if err != nil {
		return nil, 0, "", err
	}
	sum := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, sum), r)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, 0, "", err
	}
	return f, size, digest.NewDigestFromBytes(digest.SHA256, sum.Sum(nil)), nil
}

func importConfig(img driver.ImageImport, goos, arch string, diffID digest.Digest) ocispec.Image {
	// A fixed date makes the same content the same image, whenever it is made.
	created := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	config := ocispec.Image{
		Created:  &created,
		Platform: ocispec.Platform{OS: goos, Architecture: arch},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
		History:  []ocispec.History{{Created: &created, CreatedBy: "orchion import"}},
		Config: ocispec.ImageConfig{
			User:       img.User,
			Env:        envList(img.Env),
			Entrypoint: img.Entrypoint,
			Cmd:        img.Cmd,
			WorkingDir: img.WorkDir,
			Labels:     managed(img.Labels),
		},
	}
	for _, port := range img.Expose {
		if config.Config.ExposedPorts == nil {
			config.Config.ExposedPorts = map[string]struct{}{}
		}
		config.Config.ExposedPorts[strconv.Itoa(int(port))+"/tcp"] = struct{}{}
	}
	for _, path := range img.Volumes {
		if config.Config.Volumes == nil {
			config.Config.Volumes = map[string]struct{}{}
		}
		config.Config.Volumes[path] = struct{}{}
	}
	return config
}

// writeArchive writes a "docker save" archive: a layer, the configuration named by its
// digest, and a manifest that ties them together.
func writeArchive(w io.Writer, ref string, config []byte, layer io.Reader, layerSize int64) error {
	sum := sha256.Sum256(config)
	configName := hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{ref}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Name: "layer.tar", Mode: 0o644, Size: layerSize}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, layer); err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{configName, config}, {"manifest.json", manifest}} {
		if err := tw.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.data))}); err != nil {
			return err
		}
		if _, err := tw.Write(file.data); err != nil {
			return err
		}
	}
	return tw.Close()
}
