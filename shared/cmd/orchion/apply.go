package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
)

// What becomes of a document.
const (
	isCreated   = "created"
	isUpdated   = "updated"
	isUnchanged = "unchanged"
	isDeleted   = "deleted"
	isCancelled = "cancelled"
	isAbsent    = "absent"
	hasEnded    = "has ended"
)

// applied is what became of a document, as it is printed.
type applied struct {
	File     string `json:"file"     yaml:"file"`
	Document int    `json:"document" yaml:"document"`
	Kind     string `json:"kind"     yaml:"kind"`
	Name     string `json:"name"     yaml:"name"`
	// ID is that of the job or array.
	ID     string `json:"id,omitempty"     yaml:"id,omitempty"`
	Action string `json:"action"           yaml:"action"`
	DryRun bool   `json:"dryRun,omitempty" yaml:"dryRun,omitempty"`
}

// thing is what documents of a kind stand for on the orchestrator.
type thing interface {
	// plan looks at what is there and says what is to be done. Nothing is changed.
	plan(ctx context.Context, c *client) (action string, err error)
	// do does it and says what became of it.
	do(ctx context.Context, c *client) (action, id string, err error)
	// remove takes it away and says what became of it.
	remove(ctx context.Context, c *client) (action, id string, err error)
}

func (c *cli) applyCommand() *cobra.Command {
	var files, set []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE|FOLDER|-",
		Short: "Bring about what files say: jobs, deployments, queues and schedules",
		Long: "Makes what files say, or changes it to that. A file holds YAML documents, or JSON, each with a kind: Job,\n" +
			"Deployment, Queue or Schedule, a name, and what the call of the API takes; docs/jobs.md has examples.\n\n" +
			"All files are read and checked, and all that is there is looked at, before anything is changed. Applying them\n" +
			"again changes nothing. A job is known by its name and all that its document says, under an idempotency key\n" +
			"made of both: it is submitted once as long as the history has it, and again when anything in the document,\n" +
			"or in the files that it takes in, has changed. Nothing is deleted.",
		Example: "  orchion apply -f cluster.yaml\n" +
			"  orchion apply -f deploy/ --set size=large --dry-run\n" +
			"  generate | orchion apply -f - -o json",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			documents, err := namedDocuments(files, set)
			if err != nil {
				return err
			}
			return c.apply(cmd, documents, dryRun)
		},
	}
	documentFlags(cmd, &files, &set)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done")
	return cmd
}

// namedDocuments reads what the flags name.
func namedDocuments(files, set []string) ([]*document, error) {
	if len(files) == 0 {
		return nil, usagef("-f is missing; name a file, a folder, or - for stdin")
	}
	values, err := keyValues("set", set)
	if err != nil {
		return nil, err
	}
	return readDocuments(files, values)
}

// documentFlags name documents.
func documentFlags(cmd *cobra.Command, files, set *[]string) {
	f := cmd.Flags()
	f.StringArrayVarP(files, "file", "f", nil, "YAML or JSON, a folder of such files, or - for stdin (repeatable)")
	f.StringArrayVar(set, "set", nil, "a parameter of the documents that declare it, NAME=VALUE (repeatable)")
}

func (c *cli) apply(cmd *cobra.Command, documents []*document, dryRun bool) error {
	ctx := cmd.Context()
	things := make([]thing, len(documents))
	results := make([]applied, len(documents))
	for i, d := range documents {
		things[i] = d.thing()
		action, err := things[i].plan(ctx, c.client())
		if err != nil {
			return fmt.Errorf("%s: %w", d.at(), err)
		}
		results[i] = applied{File: d.file, Document: d.number, Kind: d.kind, Name: d.name, Action: action, DryRun: dryRun}
	}
	done := len(documents)
	var failed error
	for i, d := range documents {
		if dryRun {
			break
		}
		err := c.upload(ctx, d.uploads, cmd.ErrOrStderr())
		if err == nil {
			results[i].Action, results[i].ID, err = things[i].do(ctx, c.client())
		}
		if err != nil {
			done, failed = i, fmt.Errorf("%s: %w", d.at(), err)
			if rest := len(documents) - i - 1; rest > 0 {
				failed = fmt.Errorf("%w\n%d documents after it were left alone", failed, rest)
			}
			break
		}
	}
	return errors.Join(c.showApplied(cmd.OutOrStdout(), results[:done], dryRun), failed)
}

func (c *cli) deleteCommand() *cobra.Command {
	var files, set []string
	cmd := &cobra.Command{
		Use:   "delete -f FILE|FOLDER|-",
		Short: "Take away what files say: the opposite of apply",
		Long: "Deletes the deployments, queues and schedules of files, and cancels their jobs, from the last document to the\n" +
			"first. A job is the one that apply submitted for the same document, with the same parameters; jobs that have ended\n" +
			"stay in the history. The jobs of queues and schedules go on.",
		Example: "  orchion delete -f cluster.yaml",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			documents, err := namedDocuments(files, set)
			if err != nil {
				return err
			}
			var results []applied
			var failed error
			for _, d := range slices.Backward(documents) {
				action, id, err := d.thing().remove(cmd.Context(), c.client())
				if err != nil {
					failed = fmt.Errorf("%s: %w", d.at(), err)
					break
				}
				results = append(results, applied{File: d.file, Document: d.number, Kind: d.kind, Name: d.name, ID: id, Action: action})
			}
			return errors.Join(c.showApplied(cmd.OutOrStdout(), results, false), failed)
		},
	}
	documentFlags(cmd, &files, &set)
	return cmd
}

// removeAt deletes what is at a path.
func removeAt(ctx context.Context, c *client, path string) (action, id string, err error) {
	exists, err := there(c.call(ctx, http.MethodDelete, path, nil, nil, nil))
	switch {
	case err != nil:
		return "", "", err
	case !exists:
		return isAbsent, "", nil
	default:
		return isDeleted, "", nil
	}
}

func (c *cli) showApplied(w io.Writer, results []applied, dryRun bool) error {
	if c.output != outputTable {
		return c.encode(w, results)
	}
	for _, r := range results {
		text := fmt.Sprintf("%s %s %s", r.Kind, r.Name, r.Action)
		switch {
		case dryRun && r.Action != isUnchanged:
			text = fmt.Sprintf("%s %s would be %s", r.Kind, r.Name, r.Action)
		case r.ID != "":
			text += ": " + r.ID
		}
		if _, err := fmt.Fprintln(w, printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// everyPage asks for the pages of a list one after the other, until take has enough.
func everyPage(query url.Values, take func() (next string, enough bool, err error)) error {
	for {
		next, enough, err := take()
		if err != nil || enough || next == "" {
			return err
		}
		query.Set("pageToken", next)
	}
}

// there says whether what a call asks for exists.
func there(err error) (bool, error) {
	if failure := (*apiError)(nil); errors.As(err, &failure) && failure.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}
