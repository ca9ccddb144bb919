package agent

import (
	"context"
	"slices"
	"time"
)

const (
	// imagesPeriod is how often the container engine is asked which images it has, besides
	// after each pull of a job: people pull and remove some too.
	imagesPeriod = 5 * time.Minute
	// maxImages bounds the names that the orchestrator is told.
	maxImages = 1024
)

// watchImages keeps the orchestrator told of the images that the container engine has, so
// that it prefers this node for jobs that need them.
func (n *node) watchImages(ctx context.Context) {
	ticker := time.NewTicker(imagesPeriod)
	defer ticker.Stop()
	var told []string
	for {
		// An engine that does not answer is somebody else's concern.
		if names, err := n.engine.ListImages(ctx); err == nil {
			names = names[:min(len(names), maxImages)]
			if told == nil || !slices.Equal(names, told) {
				told = append([]string{}, names...)
				n.stream.ReportImages(told)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.pulled:
		case <-ticker.C:
		}
	}
}

// imagePulled says that there may be another image. It does not block.
func (n *node) imagePulled() {
	select {
	case n.pulled <- struct{}{}:
	default:
	}
}
