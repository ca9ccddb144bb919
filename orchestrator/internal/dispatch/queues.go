package dispatch

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/mailbox"
)

// QueueStatus is a queue with its settings and how much is in it.
type QueueStatus struct {
	job.Queue
	// Configured: it has settings of its own.
	Configured bool
	// Queued is how many of its jobs wait, Running how many nodes hold.
	Queued, Running int
}

// Queues answers the queues that are in use or have settings, ordered by name.
// The default queue is always among them.
func (d *Dispatcher) Queues(ctx context.Context) ([]QueueStatus, error) {
	list, err := mailbox.Ask(ctx, d.box, func() []QueueStatus {
		list := make([]QueueStatus, 0, len(d.queue.lanes)+1)
		for _, l := range d.queue.lanes {
			l.known = true
			list = append(list, l.status())
		}
		if d.queue.lanes[job.DefaultQueue] == nil {
			list = append(list, QueueStatus{Queue: job.NewQueue(job.DefaultQueue)})
		}
		return list
	})
	slices.SortFunc(list, func(a, b QueueStatus) int { return strings.Compare(a.Name, b.Name) })
	return list, stopping(err)
}

// Queue answers one queue. NotFound: no job is in it and nothing is set.
func (d *Dispatcher) Queue(ctx context.Context, name string) (QueueStatus, error) {
	found, err := mailbox.Ask(ctx, d.box, func() QueueStatus {
		if l := d.queue.lanes[name]; l != nil {
			l.known = true
			return l.status()
		}
		return QueueStatus{}
	})
	switch {
	case err != nil:
		return QueueStatus{}, stopping(err)
	case found.Name == "" && name == job.DefaultQueue:
		return QueueStatus{Queue: job.NewQueue(name)}, nil
	case found.Name == "":
		return QueueStatus{}, noQueue(name)
	}
	return found, nil
}

func noQueue(name string) error {
	return fault.New(fault.NotFound, "there is no queue %q: no job is in it and nothing is set for it", name)
}

// SetQueue changes the settings of a queue, which need not be in use, durably.
// change is given the present ones. Errors: Invalid (the settings), Exhausted
// (too many queues), change's own and the store's.
func (d *Dispatcher) SetQueue(ctx context.Context, name string, change func(*job.Queue) error) (QueueStatus, error) {
	if err := d.admitQueue(ctx, "name", name); err != nil {
		return QueueStatus{}, err
	}
	d.setting.Lock()
	defer d.setting.Unlock()
	set, err := mailbox.Ask(ctx, d.box, func() job.Queue {
		if l := d.queue.lanes[name]; l != nil {
			return l.set
		}
		return job.NewQueue(name)
	})
	if err != nil {
		return QueueStatus{}, stopping(err)
	}
	if err := change(&set); err != nil {
		return QueueStatus{}, err
	}
	if err := set.Validate(); err != nil {
		return QueueStatus{}, err
	}
	if err := d.cfg.Store.PutQueue(ctx, set); err != nil {
		return QueueStatus{}, err
	}
	// It is durable: whoever asked may be gone, the owner has to know.
	status, err := mailbox.Ask(context.WithoutCancel(ctx), d.box, func() QueueStatus {
		d.queue.configure(set, true)
		d.told = time.Time{} // people see at once what they did
		return d.queue.lanes[name].status()
	})
	return status, stopping(err)
}

// DeleteQueue forgets the settings of a queue; its jobs go on as in one that
// nothing was set for. Errors are the store's: NotFound.
func (d *Dispatcher) DeleteQueue(ctx context.Context, name string) error {
	d.setting.Lock()
	defer d.setting.Unlock()
	if err := d.cfg.Store.DeleteQueue(ctx, name); err != nil {
		return err
	}
	d.box.Post(func() {
		d.queue.configure(job.NewQueue(name), false)
		d.told = time.Time{}
	})
	return nil
}

// admitQueue checks the name of a queue, and that it may be used: each costs
// memory for as long as it is.
func (d *Dispatcher) admitQueue(ctx context.Context, field, name string) error {
	if err := job.CheckQueueName(field, name); err != nil {
		return err
	}
	if d.stats.queues.Load() < int64(d.cfg.MaxQueues) {
		return nil
	}
	known, err := mailbox.Ask(ctx, d.box, func() bool { return d.queue.lanes[name] != nil })
	switch {
	case err != nil:
		return stopping(err)
	case !known:
		return fault.New(fault.Exhausted, "%d queues are in use or have settings, which is the limit; use one of those, or delete the settings of some", d.cfg.MaxQueues)
	}
	return nil
}

func (l *lane) status() QueueStatus {
	return QueueStatus{Queue: l.set, Configured: l.configured, Queued: l.queued, Running: l.running}
}
