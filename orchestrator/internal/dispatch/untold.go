package dispatch

import (
	"container/list"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

const (
	// tellEvery is how often those who watch are told of queues: what is in
	// one changes with every job.
	tellEvery = time.Second
	// tellAtOnce bounds how many queues they are told of at one time, so that
	// other events are not pushed out by them.
	tellAtOnce = 256
)

// untold are the lanes that have changed since those who watch were told, the
// one to be told of next first. Queues that come and go faster than anybody is
// told of them are not among them.
type untold struct {
	lanes list.List
	// gone are those of them that are forgotten and that somebody knows, by name.
	gone map[string]*lane
}

// back has a new lane take the place of one that was forgotten.
func (u *untold) back(l *lane) {
	old := u.gone[l.set.Name]
	if old == nil {
		return
	}
	delete(u.gone, l.set.Name)
	l.untold, l.known = old.untold, true
	l.untold.Value = l
}

// forget leaves of a lane that is no more, which is a change, only that those who
// know of it are to be told.
func (u *untold) forget(l *lane) {
	if l.known {
		u.gone[l.set.Name] = l
		return
	}
	u.lanes.Remove(l.untold)
	l.untold = nil
}

// next takes out the lane to be told of now; gone: it is no more.
func (u *untold) next() (l *lane, gone bool) {
	l, _ = u.lanes.Remove(u.lanes.Front()).(*lane)
	l.untold, l.known = nil, true
	if gone = u.gone[l.set.Name] == l; gone {
		delete(u.gone, l.set.Name)
	}
	return l, gone
}

// tellQueues tells those who watch of queues that have changed, and answers
// when to do so again; zero: nothing has changed.
func (d *Dispatcher) tellQueues(now time.Time) (next time.Time) {
	u := &d.queue.untold
	if u.lanes.Len() == 0 {
		return time.Time{}
	}
	if due := d.told.Add(tellEvery); now.Before(due) {
		return due
	}
	d.told = now
	for range min(u.lanes.Len(), tellAtOnce) {
		l, gone := u.next()
		if gone {
			d.cfg.QueueEvents(QueueStatus{Queue: job.NewQueue(l.set.Name)}, l.set.Name != job.DefaultQueue)
			continue
		}
		d.cfg.QueueEvents(l.status(), false)
	}
	if u.lanes.Len() == 0 {
		return time.Time{}
	}
	return now.Add(tellEvery)
}
