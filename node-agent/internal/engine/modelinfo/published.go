package modelinfo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/orchion/orchion/shared/modelfit"
)

// Of a registry's answers (the distribution protocol, as Ollama uses it).
const (
	manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	weightsLayer = "application/vnd.ollama.image.model"
	maxManifest  = 1 << 20
)

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// fromRegistry reads the header of the model's file in its registry.
func (d *Describer) fromRegistry(ctx context.Context, name ollamaName) (*modelfit.Model, error) {
	base := name.base()
	client, done, err := outside(base)
	if err != nil {
		return nil, err
	}
	defer done()
	data, err := fetchAll(ctx, client, base+"/manifests/"+name.tag, http.Header{"Accept": {manifestType}}, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("the registry %s: %w", name.host, err)
	}
	var manifest struct {
		Layers []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("the registry %s: its manifest: %w", name.host, err)
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType != weightsLayer || !digestRE.MatchString(layer.Digest) {
			continue
		}
		m, err := readHeader(ctx, client, base+"/blobs/"+layer.Digest)
		if err != nil {
			return nil, fmt.Errorf("the registry %s: %w", name.host, err)
		}
		m.Source = "the header of its file at " + name.host
		return m, nil
	}
	return nil, fmt.Errorf("the registry %s: the manifest names no file of weights", name.host)
}

// readHeader reads the beginning of a GGUF file, as far as its header goes.
func readHeader(ctx context.Context, client *http.Client, target string) (*modelfit.Model, error) {
	header := http.Header{"Range": {"bytes=0-" + strconv.Itoa(modelfit.MaxGGUFHeader-1)}}
	res, err := fetch(ctx, client, target, header)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return modelfit.ReadGGUF(res.Body)
}

// fromHuggingFace reads a model's config.json and how large its weights are.
func (d *Describer) fromHuggingFace(ctx context.Context, model string) (*modelfit.Model, error) {
	base := strings.TrimSuffix(d.cfg.HuggingFace, "/") + "/" + model + "/resolve/main/"
	client, done, err := outside(base)
	if err != nil {
		return nil, err
	}
	defer done()
	header := http.Header{}
	if d.cfg.Token != "" {
		header.Set("Authorization", "Bearer "+d.cfg.Token) // which http.Client shows to no other host
	}
	config, err := fetchAll(ctx, client, base+"config.json", header, modelfit.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("hugging face: %w", err)
	}
	size, err := d.weights(ctx, client, base, header)
	if err != nil {
		return nil, fmt.Errorf("hugging face: %w", err)
	}
	m, err := modelfit.ReadConfig(config, size)
	if err != nil {
		return nil, fmt.Errorf("hugging face: %w", err)
	}
	m.Source = "its config.json on Hugging Face"
	return m, nil
}

// weights is how large a model's safetensors are: as its index says, or those of
// the one file.
func (d *Describer) weights(ctx context.Context, client *http.Client, base string, header http.Header) (int64, error) {
	index, err := fetchAll(ctx, client, base+"model.safetensors.index.json", header, modelfit.MaxConfig)
	if err == nil {
		return modelfit.ReadIndex(index)
	}
	if !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	ranged := header.Clone()
	ranged.Set("Range", "bytes=0-0")
	res, err := fetch(ctx, client, base+"model.safetensors", ranged)
	if errors.Is(err, ErrNotFound) {
		return 0, fmt.Errorf("it has no safetensors: %w", modelfit.ErrUnknownSize)
	}
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK && res.ContentLength > 0 {
		return res.ContentLength, nil
	}
	_, total, _ := strings.Cut(res.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || size <= 0 {
		return 0, fmt.Errorf("model.safetensors: %w", modelfit.ErrUnknownSize)
	}
	return size, nil
}

// fetch begins to read a file. ErrNotFound when it is not there.
func fetch(ctx context.Context, client *http.Client, target string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody) //nolint:gosec // outside() says where it may go
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	res, err := client.Do(req) //nolint:gosec // as above
	if err != nil {
		var wrapped *url.Error // says the whole address again, with what was signed into it
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return res, nil
	}
	_ = res.Body.Close() // nothing of it is read
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return nil, ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("%w, or it is not for everybody (%s)", ErrNotFound, res.Status)
	}
	return nil, fmt.Errorf("answered %s", res.Status)
}

// fetchAll reads a file that has at most so many bytes.
func fetchAll(ctx context.Context, client *http.Client, target string, header http.Header, most int) ([]byte, error) {
	res, err := fetch(ctx, client, target, header)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(res.Body, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(most) {
		return nil, fmt.Errorf("%s has more than %d bytes", target[strings.LastIndexByte(target, '/')+1:], most)
	}
	return data.Bytes(), nil
}
