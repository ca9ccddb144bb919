package logfile

import (
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// maxSame is how many entries of one time Resume counts.
const maxSame = store.MaxLogRead

// Resume answers by what the node finds its place again.
func (w *writer) Resume() (store.Resume, error) {
	l := w.log
	if err := l.store.begin(); err != nil {
		return store.Resume{}, err
	}
	defer l.store.end()
	var r store.Resume
	begin, err := l.store.readAttempt(l.ref, 0, 100)
	if err != nil {
		return r, err
	}
	for _, e := range begin.entries {
		if isOutput(&e) {
			r.First = e
			break
		}
	}
	offset, found, err := l.store.tailAttempt(l.ref, maxSame)
	if err != nil {
		return r, err
	}
	for found > 0 {
		read, err := l.store.readAttempt(l.ref, offset, maxSame)
		if err != nil {
			return r, err
		}
		if len(read.entries) == 0 {
			break
		}
		for _, e := range read.entries {
			switch {
			case !isOutput(&e):
			case r.Same > 0 && e.Time.Equal(r.Last.Time):
				r.Last = e
				r.Same++
			default:
				r.Last, r.Same = e, 1
			}
		}
		offset = read.next
	}
	return r, nil
}

// isOutput says whether an entry came from the job.
func isOutput(e *job.LogEntry) bool { return !e.Note && e.Line > 0 }
