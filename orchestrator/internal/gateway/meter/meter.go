// Package meter counts what calls of models take: for people who look at the
// usage of models, callers and nodes, for Prometheus, and for the log. It knows
// nothing of what was asked and answered.
//
// A call that has ended is put into a buffer, which costs it a short lock and
// nothing else. One goroutine takes them from there, a few times a second, and
// writes their sums to the store. When it cannot keep up, calls are left out and
// counted as lost; no call ever waits.
package meter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchion/orchion/orchestrator/internal/upkeep"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// Store is what the meter needs of store.Store.
type Store interface {
	AddUsage(ctx context.Context, rows []usage.Row) error
	Usage(ctx context.Context, from, to time.Time, f func(*usage.Row) error) error
	FoldUsage(ctx context.Context, before time.Time) (more bool, err error)
	DeleteUsage(ctx context.Context, before time.Time, limit int) (more bool, err error)
}

// Config says how a Meter works. Store is required.
type Config struct {
	Store Store
	// Retention is how long usage is kept; 0: for ever.
	Retention time.Duration
	// RequestLog says which calls Logger is told of. Default: LogOff.
	RequestLog LogMode
	// Logger defaults to one that discards.
	Logger *slog.Logger
	// Metrics is where the metrics are registered; nil: nowhere.
	Metrics prometheus.Registerer
}

const (
	// bufferSize is how many calls may wait, which is 200 ms of 80,000 a second.
	bufferSize = 16 << 10
	// linger is how long calls wait for more, so that a busy gateway wakes the
	// goroutine a few times a second and not for each of them.
	linger = 200 * time.Millisecond
	// flushEvery is how often sums are written: as much as a crash may lose.
	flushEvery = 10 * time.Second
	// maxPending is how many minutes are kept while the store takes none.
	maxPending = 15
	// flushTimeout bounds the last writing.
	flushTimeout = 5 * time.Second
)

// Meter counts calls. Make one with New.
type Meter struct {
	cfg     Config
	log     *slog.Logger
	genAI   *genAI
	lines   *requestLog
	keeping *upkeep.Loop
	recent  ring

	waiting sync.Mutex // guards the two that follow, for as long as it takes to add a call
	buffer  []Call
	spare   []Call        // empty; for when buffer is taken
	wake    chan struct{} // holds one token when calls wait
	urgent  chan struct{} // holds one token when many do
	lost    atomic.Uint64

	mu      sync.Mutex                            // guards what follows
	pending map[int64]map[usage.Key]*usage.Counts // by minute, in seconds since 1970
	keys    map[usage.Key]struct{}                // seen in the newest minute
	newest  int64

	dirty    chan struct{} // holds one token when sums wait to be written
	flushing sync.Mutex    // held while sums are on their way to the store
	failing  bool          // whether the store took none the last time; guarded by flushing

	running sync.WaitGroup
	stop    context.CancelFunc
}

// New makes a meter; call Start. It panics when a metric is registered already,
// which is a mistake of the program.
func New(cfg Config) (*Meter, error) {
	if cfg.Store == nil {
		return nil, errors.New("meter: Config needs Store")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Meter{
		cfg: cfg, log: cfg.Logger, lines: newRequestLog(cfg.RequestLog, cfg.Logger),
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
		pending: map[int64]map[usage.Key]*usage.Counts{}, keys: map[usage.Key]struct{}{},
	}
	m.genAI = newGenAI(cfg.Metrics, m.Lost)
	m.keeping = upkeep.New(keepEvery, m.keep)
	return m, nil
}

// Start begins to count what Note is told. ctx bounds nothing that goes on after
// it.
func (m *Meter) Start(ctx context.Context) error {
	if m.stop != nil {
		return errors.New("meter: Start was called before")
	}
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.running.Go(func() { m.count(ctx) })
	m.running.Go(func() { m.write(ctx) })
	return m.keeping.Start(ctx)
}

// Stop writes what was counted and ends what Start began. It may be called
// twice, and without Start.
func (m *Meter) Stop() {
	if m.stop == nil {
		return
	}
	m.keeping.Stop()
	m.stop()
	m.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = m.flush(ctx) // it has told the log
}

// Note counts a call that has ended. It never blocks, and a nil meter counts
// nothing.
func (m *Meter) Note(c *Call) {
	if m == nil {
		return
	}
	m.waiting.Lock()
	n := len(m.buffer)
	if n < bufferSize {
		m.buffer = append(m.buffer, *c)
	}
	m.waiting.Unlock()
	switch n {
	case 0:
		poke(m.wake)
	case bufferSize / 2:
		poke(m.urgent)
	case bufferSize:
		m.lost.Add(1)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is awake
	}
}

// Lost is how many calls were left out of what was counted.
func (m *Meter) Lost() uint64 { return m.lost.Load() }

// count takes calls from the buffer. An idle meter does nothing at all.
func (m *Meter) count(ctx context.Context) {
	timer := time.NewTimer(linger)
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			timer.Reset(linger)
		case <-m.urgent:
			m.gather()
		case <-timer.C:
			m.gather()
		}
	}
}

// write writes sums now and then.
func (m *Meter) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(flushEvery):
		}
		if m.flush(ctx) != nil {
			poke(m.dirty)
		}
	}
}

// gather counts the calls that wait.
func (m *Meter) gather() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting.Lock()
	calls := m.buffer
	m.buffer, m.spare = m.spare, nil
	m.waiting.Unlock()
	for i := range calls {
		c := &calls[i]
		m.countLocked(c)
		m.recent.add(c)
		m.genAI.observe(c)
		m.lines.note(c)
	}
	if len(calls) > 0 {
		poke(m.dirty)
	}
	if cap(calls) > 1024 && len(calls) < cap(calls)/8 {
		return // grown by a burst that is over
	}
	clear(calls) // the names in it need not stay in memory
	m.waiting.Lock()
	m.spare = calls[:0]
	m.waiting.Unlock()
}

// countLocked adds a call to the sums of the minute in which it ended.
func (m *Meter) countLocked(c *Call) {
	minute := c.Time.Add(c.Duration).Truncate(time.Minute).Unix()
	if minute > m.newest {
		m.newest = minute
		clear(m.keys)
	}
	m.addLocked(minute, m.keyLocked(c), c.addTo)
}

// keyLocked gives the key of a call, or one for all for which there is no room.
func (m *Meter) keyLocked(c *Call) usage.Key {
	key := usage.Key{Model: c.Model, Caller: c.Caller, NodeID: c.NodeID}
	for _, try := range []struct {
		key  usage.Key
		most int
	}{{key, usage.MaxKeys}, {key.Rest(), 2 * usage.MaxKeys}} {
		if _, ok := m.keys[try.key]; ok {
			return try.key
		}
		if len(m.keys) < try.most {
			m.keys[try.key] = struct{}{}
			return try.key
		}
	}
	return usage.Key{Caller: usage.Others}
}

func (m *Meter) addLocked(minute int64, key usage.Key, add func(*usage.Counts)) {
	rows := m.pending[minute]
	if rows == nil {
		rows = map[usage.Key]*usage.Counts{}
		m.pending[minute] = rows
		m.dropLocked()
	}
	counts := rows[key]
	if counts == nil {
		counts = &usage.Counts{}
		rows[key] = counts
	}
	add(counts)
}

// dropLocked gives up the oldest minute when the store takes none for long.
func (m *Meter) dropLocked() {
	if len(m.pending) <= maxPending {
		return
	}
	oldest := m.newest
	for minute := range m.pending {
		oldest = min(oldest, minute)
	}
	for _, counts := range m.pending[oldest] {
		m.lost.Add(uint64(counts.Requests))
	}
	delete(m.pending, oldest)
}

// flush writes all that was counted to the store.
func (m *Meter) flush(ctx context.Context) error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	m.gather()
	rows := m.take()
	if len(rows) == 0 {
		return nil
	}
	err := m.cfg.Store.AddUsage(ctx, rows)
	if err == nil {
		m.failing = false
		return nil
	}
	m.giveBack(rows)
	if !m.failing && ctx.Err() == nil {
		m.failing = true
		m.log.ErrorContext(ctx, "usage could not be written", "retry_in", flushEvery, "error", err)
	}
	return err
}

func (m *Meter) take() []usage.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rows []usage.Row
	for minute, keys := range m.pending {
		for key, counts := range keys {
			rows = append(rows, usage.Row{Start: time.Unix(minute, 0).UTC(), Step: time.Minute, Key: key, Counts: *counts})
		}
	}
	clear(m.pending)
	return rows
}

func (m *Meter) giveBack(rows []usage.Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range rows {
		m.addLocked(rows[i].Start.Unix(), rows[i].Key, func(c *usage.Counts) { c.Add(&rows[i].Counts) })
	}
}

// Report says what was used, up to now. Errors name the field.
func (m *Meter) Report(ctx context.Context, q usage.Query) (usage.Report, error) {
	q, err := q.Complete(time.Now())
	if err != nil {
		return usage.Report{}, err
	}
	if err := m.flush(ctx); err != nil {
		return usage.Report{}, err
	}
	return q.Make(func(from, to time.Time, f func(*usage.Row) error) error { return m.cfg.Store.Usage(ctx, from, to, f) })
}

// Speeds answers how fast nodes made tokens for some models lately, by the nodes' ids.
func (m *Meter) Speeds(of func(model string) bool) map[string]Speed {
	m.gather()
	return m.recent.speeds(of)
}

// Recent gives the newest calls, as Filter says. next continues the list; 0: it
// is at its end.
func (m *Meter) Recent(f Filter) (calls []Numbered, next uint64) {
	m.gather()
	return m.recent.list(f)
}
