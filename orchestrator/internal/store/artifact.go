package store

import "github.com/orchion/orchion/orchestrator/internal/fault"

// ArtifactFilter narrows ListArtifacts. Zero values do not narrow.
type ArtifactFilter struct {
	Attempt int
	Name    string
	// After is the place of the last page's last artifact.
	AfterAttempt int
	AfterName    string
	// Limit is at least 1 and at most MaxPage.
	Limit int
}

// Validate checks the limit.
func (f ArtifactFilter) Validate() error {
	if f.Limit < 1 || f.Limit > MaxPage {
		return fault.BadField("pageSize", "is %d; allowed are 1 to %d", f.Limit, MaxPage)
	}
	return nil
}
