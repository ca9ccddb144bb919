package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (c *cli) jobArtifacts() *cobra.Command {
	var attempt int32
	cmd := &cobra.Command{
		Use:               "artifacts ID",
		Short:             "List the files that a job left",
		Example:           "  orchion job artifacts 0199d1f2-...",
		Args:              exactly("ID"),
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := c.artifacts(cmd.Context(), args[0], attempt)
			if err != nil {
				return err
			}
			return c.show(cmd.OutOrStdout(), list, func(w io.Writer) error {
				if len(list.GetArtifacts()) == 0 {
					_, err := fmt.Fprintln(w, "No artifacts. A job names what is to be kept of its files: orchion job submit --artifact '/out/**' ...")
					return err
				}
				rows := [][]string{{"ATTEMPT", "NAME", "SIZE", "MODE", "DIGEST"}}
				for _, a := range list.GetArtifacts() {
					rows = append(rows, []string{
						strconv.Itoa(int(a.GetAttempt())), a.GetName(), bytesText(a.GetSizeBytes()), fmt.Sprintf("%04o", a.GetMode()), a.GetDigest(),
					})
				}
				return table(w, rows...)
			})
		},
	}
	cmd.Flags().Int32Var(&attempt, "attempt", 0, "only those of this attempt; 0: of all")
	return cmd
}

// artifacts lists what the attempts of a job left.
func (c *cli) artifacts(ctx context.Context, id string, attempt int32) (*orchionv1.ListArtifactsResponse, error) {
	query := url.Values{}
	if attempt != 0 {
		query.Set("attempt", strconv.Itoa(int(attempt)))
	}
	list := &orchionv1.ListArtifactsResponse{}
	err := c.pages(query, func() (string, error) {
		page := &orchionv1.ListArtifactsResponse{}
		err := c.client().call(ctx, http.MethodGet, "/api/jobs/"+segment(id)+"/artifacts", query, nil, page)
		list.Artifacts = append(list.Artifacts, page.GetArtifacts()...)
		return page.GetNextPageToken(), err
	})
	return list, err
}

func (c *cli) jobDownload() *cobra.Command {
	var attempt int32
	var dir string
	cmd := &cobra.Command{
		Use:   "download ID [NAME...]",
		Short: "Download the files that a job left",
		Long: "Downloads the files that a job left, or those named; the name of a folder is all that is in it.\n" +
			"Without --attempt they are those of the newest attempt that left some. Files of the same names are replaced.",
		Example: "  orchion job download 0199d1f2-... -d results\n" +
			"  orchion job download 0199d1f2-... out/model.bin",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s takes the id of a job", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := c.artifacts(cmd.Context(), args[0], attempt)
			if err != nil {
				return err
			}
			wanted, err := wantedArtifacts(list.GetArtifacts(), args[1:])
			if err != nil {
				return err
			}
			if len(wanted) == 0 {
				return fmt.Errorf("job %s left no artifacts", args[0])
			}
			return c.download(cmd.Context(), args[0], wanted, dir, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&dir, "dir", "d", ".", "the folder to put them into, which is made")
	cmd.Flags().Int32Var(&attempt, "attempt", 0, "those of this attempt; 0: of the newest that left some")
	return cmd
}

// wantedArtifacts are those of the newest attempt that are named, or lie in a
// folder that is; all without names.
func wantedArtifacts(list []*orchionv1.Artifact, names []string) ([]*orchionv1.Artifact, error) {
	newest := int32(0)
	for _, a := range list {
		newest = max(newest, a.GetAttempt())
	}
	found := make([]bool, len(names))
	var wanted []*orchionv1.Artifact
	for _, a := range list {
		if a.GetAttempt() != newest {
			continue
		}
		named := len(names) == 0
		for i, name := range names {
			if name = strings.TrimSuffix(name, "/"); a.GetName() == name || strings.HasPrefix(a.GetName(), name+"/") {
				named, found[i] = true, true
			}
		}
		if named {
			wanted = append(wanted, a)
		}
	}
	for i, name := range names {
		if !found[i] {
			return nil, fmt.Errorf("attempt %d left no artifact %q; orchion job artifacts lists what there is", newest, name)
		}
	}
	return wanted, nil
}

// download puts artifacts into a folder, out of which none gets.
func (c *cli) download(ctx context.Context, id string, list []*orchionv1.Artifact, dir string, errOut io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // only a folder
	var total int64
	for _, a := range list {
		total += a.GetSizeBytes()
	}
	what := fmt.Sprintf("downloading %d files", len(list))
	if len(list) == 1 {
		what = "downloading " + list[0].GetName()
	}
	shown := newTransfer(errOut, what, total)
	defer shown.end()
	for _, a := range list {
		if err := c.downloadOne(ctx, id, a, root, shown); err != nil {
			return fmt.Errorf("download %s: %w", printable(a.GetName()), err)
		}
	}
	return nil
}

func (c *cli) downloadOne(ctx context.Context, id string, a *orchionv1.Artifact, root *os.Root, shown io.Writer) error {
	name, err := filepath.Localize(a.GetName())
	if err != nil {
		return errors.New("this machine cannot have a file of that name")
	}
	var segments []string
	for part := range strings.SplitSeq(a.GetName(), "/") {
		segments = append(segments, segment(part))
	}
	query := url.Values{"attempt": {strconv.Itoa(int(a.GetAttempt()))}}
	response, err := c.client().stream(ctx, http.MethodGet, "/api/jobs/"+segment(id)+"/artifacts/"+path.Join(segments...), query, "*/*", nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// Renamed into place, so that a file is there whole or not at all.
	part := name + ".part"
	file, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum, shown), response.Body)
	err = errors.Join(err, file.Close())
	if err == nil && digestText(sum.Sum(nil)) != a.GetDigest() {
		err = errors.New("what came is not what the job left; try again")
	}
	if err == nil {
		// Whatever the job said, whoever downloads may read and replace it.
		err = errors.Join(root.Chmod(part, os.FileMode(a.GetMode()&0o777|0o600)), root.Rename(part, name))
	}
	if err != nil {
		return errors.Join(err, root.Remove(part))
	}
	return nil
}

// downloadAfter downloads what a job left that was followed, if it left anything.
func (c *cli) downloadAfter(ctx context.Context, id, dir string, errOut io.Writer) error {
	list, err := c.artifacts(ctx, id, 0)
	if err != nil {
		return err
	}
	wanted, err := wantedArtifacts(list.GetArtifacts(), nil)
	if err != nil || len(wanted) == 0 {
		return err
	}
	return c.download(ctx, id, wanted, cmp.Or(dir, "."), errOut)
}

// artifactSpec reads PATH or PATH:NAME.
func artifactSpec(flag, text string, optional bool) (*orchionv1.ArtifactSpec, error) {
	place, name, named := strings.Cut(text, ":")
	if place == "" || named && name == "" {
		return nil, usagef("--%s is %q; write PATH or PATH:NAME", flag, text)
	}
	return &orchionv1.ArtifactSpec{Path: place, Name: name, Optional: optional}, nil
}
