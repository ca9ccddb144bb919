package docker

import (
	"strings"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// streamMessage is one message of the stream that answers a pull or a load. It is Docker's
// jsonmessage.JSONMessage, whose package would bring terminal libraries along.
type streamMessage struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress *struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// pullProgress adds up the layers of a pull. The engines report each layer apart, and
// learn of a layer's size only when its download begins.
type pullProgress struct {
	layers map[string]*layerProgress
	last   driver.PullProgress
}

type layerProgress struct {
	completed, total int64
	done             bool
}

func newPullProgress() *pullProgress {
	return &pullProgress{layers: map[string]*layerProgress{}}
}

// add takes one message of the engine's; changed says whether there is something to report.
func (p *pullProgress) add(msg streamMessage) (now driver.PullProgress, changed bool) {
	before := p.last
	status := strings.ToLower(msg.Status)
	switch {
	case msg.ID == "" || strings.HasPrefix(status, "pulling from"):
		return p.last, false
	case status == "already exists":
		p.layer(msg.ID).done = true
	case status == "pulling fs layer", status == "waiting":
		p.layer(msg.ID)
		p.last.Status = "downloading"
	case status == "downloading":
		l := p.layer(msg.ID)
		if msg.Progress != nil {
			l.completed = max(l.completed, msg.Progress.Current)
			l.total = max(l.total, msg.Progress.Total, l.completed)
		}
		p.last.Status = "downloading"
	case status == "download complete", status == "verifying checksum", status == "pull complete":
		if l, known := p.layers[msg.ID]; known {
			l.completed, l.done = l.total, true
		}
	case status == "extracting":
		p.last.Status = "extracting"
	}
	p.sum()
	return p.last, p.last != before
}

func (p *pullProgress) layer(id string) *layerProgress {
	l := p.layers[id]
	if l == nil {
		l = &layerProgress{}
		p.layers[id] = l
	}
	return l
}

// sum recomputes the totals. Layers whose size is not known yet count as much as the
// average of the others, lest the first small layer bring the percentage to the top.
func (p *pullProgress) sum() {
	var completed, total, sized, unsized int64
	for _, l := range p.layers {
		completed += l.completed
		total += l.total
		switch {
		case l.total > 0:
			sized++
		case !l.done:
			unsized++
		}
	}
	p.last.CompletedBytes, p.last.TotalBytes = completed, total
	if sized == 0 {
		return
	}
	estimate := total + unsized*(total/sized)
	// The last hundredth is for what comes after the download.
	p.last.Percent = max(p.last.Percent, min(99, 100*float64(completed)/float64(estimate)))
}

func (p *pullProgress) done() driver.PullProgress {
	p.last.Status, p.last.Percent = "pulled", 100
	p.last.CompletedBytes = p.last.TotalBytes
	return p.last
}
