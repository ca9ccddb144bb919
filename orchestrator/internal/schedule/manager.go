package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// Store is what schedules need of store.Store.
type Store interface {
	PutSchedule(ctx context.Context, s Schedule) error
	DeleteSchedule(ctx context.Context, name string) error
	ListSchedules(ctx context.Context) ([]Schedule, error)
	GetJob(ctx context.Context, id string) (job.Job, error)
}

// Jobs is the dispatcher as schedules use it.
type Jobs interface {
	Submit(ctx context.Context, j job.Job) (job.Job, error)
	Cancel(ctx context.Context, id, reason string) (job.Job, error)
}

// Config says what a Manager works with. Store and Jobs must be set.
type Config struct {
	Store Store
	Jobs  Jobs
	// Events is told of every change of a schedule, which comes without what
	// is in its input files, and Removed that one is gone. They must not block. Default: nobody is told.
	Events  func(*Schedule)
	Removed func(name string)
	Logger  *slog.Logger // default: discards
}

const (
	// retryAfter is how long to wait after a tick could not be submitted.
	retryAfter = 10 * time.Second
	// longest is how long to sleep at the most: clocks are set now and then.
	longest = 10 * time.Minute
)

// Manager keeps schedules and submits their jobs.
type Manager struct {
	cfg  Config
	wake chan struct{} // holds a token when a schedule changed

	// mu guards what follows. It is held while the store is asked: changes of
	// schedules are few, and so are ticks.
	mu        sync.Mutex
	schedules map[string]*entry

	lifecycle sync.Mutex // guards what follows and serialises Start and Stop
	cancel    context.CancelFunc
	stopped   bool
	loop      sync.WaitGroup
}

// entry is a schedule with what was made of it.
type entry struct {
	Schedule
	ticks times
	retry time.Time // not to be tried before, since something failed
}

// New makes a manager; Start loads its schedules.
func New(cfg Config) (*Manager, error) {
	if cfg.Store == nil || cfg.Jobs == nil {
		return nil, errors.New("schedule: Config needs Store and Jobs")
	}
	if cfg.Events == nil {
		cfg.Events = func(*Schedule) {}
	}
	if cfg.Removed == nil {
		cfg.Removed = func(string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{cfg: cfg, wake: make(chan struct{}, 1), schedules: make(map[string]*entry)}, nil
}

// Start loads the schedules and begins to submit. ctx bounds the loading only.
func (m *Manager) Start(ctx context.Context) error {
	m.lifecycle.Lock()
	defer m.lifecycle.Unlock()
	if m.cancel != nil || m.stopped {
		return errors.New("schedule: Start was called before")
	}
	list, err := m.cfg.Store.ListSchedules(ctx)
	if err != nil {
		return fmt.Errorf("load the schedules: %w", err)
	}
	for _, s := range list {
		ticks, err := parse(s.Cron, s.TimeZone)
		if err != nil {
			return fmt.Errorf("load the schedule %s: %w", s.Name, err)
		}
		m.schedules[s.Name] = &entry{Schedule: s, ticks: ticks}
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	m.loop.Go(func() { m.run(run) })
	return nil
}

// Stop ends submitting and waits until nothing is under way. It may be called
// twice.
func (m *Manager) Stop() {
	m.lifecycle.Lock()
	defer m.lifecycle.Unlock()
	m.stopped = true
	if m.cancel != nil {
		m.cancel()
		m.loop.Wait()
	}
}

func (m *Manager) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		next := m.fire(ctx, time.Now())
		wait := longest
		if !next.IsZero() {
			wait = min(wait, max(time.Until(next), 0))
		}
		timer.Reset(wait)
	}
}

// fire submits what is due and answers when the next will be; zero: nothing.
func (m *Manager) fire(ctx context.Context, now time.Time) (next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.schedules {
		if e.Paused || ctx.Err() != nil {
			continue
		}
		due := e.ticks.next(e.Cursor)
		if !due.IsZero() && !due.After(now) && !e.retry.After(now) {
			if err := m.tickLocked(ctx, e, now); err != nil {
				m.cfg.Logger.Error("the job of a schedule could not be submitted", "schedule", e.Name, "retry_in", retryAfter, "error", err)
				e.retry = now.Add(retryAfter)
			}
			due = e.ticks.next(e.Cursor)
		}
		if due.Before(e.retry) && !due.IsZero() {
			due = e.retry
		}
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next
}

// tickLocked deals with the last tick that is due; those before it were missed.
// That it is going to be submitted is stored before, and that it was after: so
// this very tick is submitted again after a failure or a restart, under the
// same key.
func (m *Manager) tickLocked(ctx context.Context, e *entry, now time.Time) error {
	after := e.Schedule
	after.Reason = ""
	running, err := m.running(ctx, e.LastJobID)
	if err != nil {
		return err
	}
	if e.Pending.IsZero() {
		tick := e.ticks.last(e.Cursor, now)
		if running != "" && e.Overlap == Skip {
			after.Cursor = tick
			after.Reason = fmt.Sprintf("skipped at %s: the run before, job %s, had not ended", tick.Format(time.RFC3339), running)
			return m.putLocked(ctx, e, after)
		}
		after.Pending = tick
		if err := m.putLocked(ctx, e, after); err != nil {
			return err
		}
	}
	tick := e.Pending
	after.Cursor, after.Pending = tick, time.Time{}
	j, err := m.submit(ctx, &e.Schedule, e.key(tick), running)
	switch {
	case refused(err):
		after.Reason = fmt.Sprintf("refused at %s: %v", tick.Format(time.RFC3339), err)
		m.cfg.Logger.Warn("the job of a schedule was refused", "schedule", e.Name, "error", err)
	case err != nil:
		return err
	default:
		after.LastRunAt, after.LastJobID = tick, j.ID
	}
	return m.putLocked(ctx, e, after)
}

// refused says whether trying again would not help.
func refused(err error) bool {
	code := fault.CodeOf(err)
	return err != nil && (code == fault.Invalid || code == fault.Precondition || code == fault.NotFound)
}

// putLocked stores a new value of a schedule and takes it over.
func (m *Manager) putLocked(ctx context.Context, e *entry, after Schedule) error {
	if err := m.cfg.Store.PutSchedule(ctx, after); err != nil {
		return err
	}
	e.Schedule = after
	if after.Pending.IsZero() { // what is being done is told when it is done
		m.cfg.Events(after.WithoutContents())
	}
	return nil
}

// running answers a schedule's newest job if it has not ended; empty: it has.
func (m *Manager) running(ctx context.Context, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	switch j, err := m.cfg.Store.GetJob(ctx, id); {
	case err != nil && fault.CodeOf(err) == fault.NotFound:
		return "", nil // it is history
	case err != nil:
		return "", err
	case j.State.Ended():
		return "", nil
	}
	return id, nil
}

// submit submits a run; running is the one before, if it has not ended.
func (m *Manager) submit(ctx context.Context, s *Schedule, key, running string) (job.Job, error) {
	j := job.Job{Name: s.Template.Name, IdempotencyKey: key, Spec: s.Template.Spec, Labels: maps.Clone(s.Template.Labels)}
	if j.Labels == nil {
		j.Labels = make(map[string]string, 1)
	}
	j.Labels[Label] = s.Name
	if running != "" && s.Overlap == Replace {
		_, err := m.cfg.Jobs.Cancel(ctx, running, "replaced by the next run of the schedule "+s.Name)
		if err != nil && !refused(err) { // refused: it has ended meanwhile
			return job.Job{}, err
		}
		j.Spec.After = []job.Dependency{{ID: running, On: job.OnEnd}}
	}
	return m.cfg.Jobs.Submit(ctx, j)
}

// Trigger submits a run now, also of a paused schedule, and answers its job.
// Errors: NotFound; Precondition when the run before has not ended and the
// policy is Skip; the dispatcher's.
func (m *Manager) Trigger(ctx context.Context, name string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.schedules[name]
	if e == nil {
		return job.Job{}, NoSchedule(name)
	}
	running, err := m.running(ctx, e.LastJobID)
	if err != nil {
		return job.Job{}, err
	}
	if running != "" && e.Overlap == Skip {
		return job.Job{}, fault.New(fault.Precondition, "the run before, job %s, has not ended, and the schedule %s does not let runs overlap", running, name)
	}
	j, err := m.submit(ctx, &e.Schedule, "", running)
	if err != nil {
		return job.Job{}, err
	}
	after := e.Schedule
	after.LastRunAt, after.LastJobID, after.Reason = j.CreatedAt, j.ID, ""
	return j, m.putLocked(context.WithoutCancel(ctx), e, after)
}

// Put makes a schedule, or replaces what one of that name does; what it did so
// far stays known. Its ticks count from now when it is new, when its times
// changed, or when it is no longer paused. Errors: Invalid, Exhausted (too
// many), the store's.
func (m *Manager) Put(ctx context.Context, s Schedule) (Schedule, error) {
	return m.change(ctx, s.Name, func(old *Schedule) error {
		old.Cron, old.TimeZone, old.Overlap, old.Paused, old.Template = s.Cron, s.TimeZone, s.Overlap, s.Paused, s.Template
		return nil
	}, true)
}

// Pause pauses a schedule or lets it go on. NotFound.
func (m *Manager) Pause(ctx context.Context, name string, paused bool) (Schedule, error) {
	return m.change(ctx, name, func(s *Schedule) error {
		s.Paused = paused
		return nil
	}, false)
}

func (m *Manager) change(ctx context.Context, name string, change func(*Schedule) error, create bool) (Schedule, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	e := m.schedules[name]
	switch {
	case e == nil && !create:
		return Schedule{}, NoSchedule(name)
	case e == nil && len(m.schedules) >= maxSchedules:
		return Schedule{}, fault.New(fault.Exhausted, "there are %d schedules, which is the limit; delete some", maxSchedules)
	case e == nil:
		e = &entry{Schedule: Schedule{Name: name, CreatedAt: now, Paused: true}}
	}
	after := e.Schedule
	if err := change(&after); err != nil {
		return Schedule{}, err
	}
	if err := after.Validate(); err != nil {
		return Schedule{}, err
	}
	if after.Cron != e.Cron || after.TimeZone != e.TimeZone || e.Paused && !after.Paused {
		after.Cursor, after.Pending, after.Reason = now, time.Time{}, ""
	}
	ticks, err := parse(after.Cron, after.TimeZone)
	if err != nil {
		return Schedule{}, err
	}
	if err := m.putLocked(ctx, e, after); err != nil {
		return Schedule{}, err
	}
	e.ticks, e.retry = ticks, time.Time{}
	m.schedules[name] = e
	m.rouse()
	return after, nil
}

// Delete forgets a schedule; its jobs stay. Errors are the store's: NotFound.
func (m *Manager) Delete(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.cfg.Store.DeleteSchedule(ctx, name); err != nil {
		return err
	}
	delete(m.schedules, name)
	m.cfg.Removed(name)
	return nil
}

// Get answers one schedule. NotFound.
func (m *Manager) Get(name string) (Schedule, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.schedules[name]
	if e == nil {
		return Schedule{}, NoSchedule(name)
	}
	return e.Schedule, nil
}

// List answers all schedules, ordered by name.
func (m *Manager) List() []Schedule {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Schedule, 0, len(m.schedules))
	for _, e := range m.schedules {
		list = append(list, e.Schedule)
	}
	slices.SortFunc(list, func(a, b Schedule) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// NoSchedule says that there is no such schedule.
func NoSchedule(name string) error {
	return fault.New(fault.NotFound, "there is no schedule %q", name)
}

// rouse has the loop look again.
func (m *Manager) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
