package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

const (
	// reapPause bounds how often the reaper looks when nodes expire one by one.
	reapPause = 20 * time.Millisecond
	// usagePeriod is how often changed usage is told.
	usagePeriod = time.Second
	// maxUsageReports bounds what a big fleet's heartbeats can add to the
	// event stream in one period; the nodes take turns.
	maxUsageReports = 200
	// touchPeriod is how often the time at which nodes were last seen is
	// stored: after a crash it is at most this wrong.
	touchPeriod = time.Minute
	// saveRetry is how long to wait after the store refused a node.
	saveRetry = 5 * time.Second
	// savers is how many nodes are stored at once, which lets the store group
	// them into few commits when a whole fleet registers.
	savers = 32
	// closeTimeout bounds the last write to the store in Stop.
	closeTimeout = 5 * time.Second
)

// Start loads the known nodes, all of them offline until they register, and
// starts to watch for silent ones. Stop ends it. ctx bounds the loading only.
func (r *Registry) Start(ctx context.Context) error {
	r.lifecycle.Lock()
	defer r.lifecycle.Unlock()
	if r.stop != nil {
		return errStarted
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = cancel
	r.done.Go(func() { r.reapUntil(run) })
	r.done.Go(func() { r.reportUntil(run) })
	if r.cfg.Store != nil {
		r.done.Go(func() { r.saveUntil(run) })
	}
	return nil
}

// Stop ends the watching and stores what is not stored yet. It blocks and may
// be called again.
func (r *Registry) Stop() {
	r.lifecycle.Lock()
	defer r.lifecycle.Unlock()
	if r.stop == nil {
		return
	}
	r.stop()
	r.done.Wait()
}

func (r *Registry) load(ctx context.Context) error {
	if r.cfg.Store == nil {
		return nil
	}
	known, err := r.cfg.Store.ListNodes(ctx)
	if err != nil {
		return fmt.Errorf("load the known nodes: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range known {
		if _, ok := r.entries[k.ID]; !ok {
			r.kinds.shareKnown(&k)
			r.entries[k.ID] = &entry{node: k.offline()}
		}
	}
	r.sorted = nil
	return nil
}

// reapUntil takes silent nodes offline. It sleeps until the first deadline:
// what it costs is proportional to the nodes that expire.
func (r *Registry) reapUntil(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, some := r.reap(); some {
			timer.Reset(max(wait, reapPause))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
	}
}

// reap takes the nodes whose deadline has passed offline, looks whether that is
// an outage, and answers how long it is until it has to look again, if it has.
func (r *Registry) reap() (wait time.Duration, some bool) {
	now := time.Now()
	var silent []*Node
	r.mu.Lock()
	for e := r.active.front; e != nil && !e.deadline.After(now); e = r.active.front {
		silent = append(silent, e.latest())
		r.offlineLocked(e)
		r.wentSilentLocked(e, now)
	}
	if len(silent) > 0 {
		r.findOutageLocked(now)
	}
	if e := r.active.front; e != nil {
		wait, some = e.deadline.Sub(now), true
	}
	if until, outage := r.expireOutageLocked(now); outage && (!some || until.Sub(now) < wait) {
		wait, some = until.Sub(now), true
	}
	if next := r.endCoolDownsLocked(now); !next.IsZero() && (!some || next.Sub(now) < wait) {
		wait, some = next.Sub(now), true
	}
	r.mu.Unlock()
	r.deliver()
	for _, n := range silent {
		level := slog.LevelWarn
		if n.inMaintenance() {
			level = slog.LevelInfo
		}
		r.cfg.Logger.Log(context.Background(), level, "node is offline: its heartbeats stopped",
			"node", n.ID, "hostname", n.Hostname, "silent_for", now.Sub(n.LastSeenAt).Round(time.Millisecond))
	}
	return wait, some
}

// reportUntil tells OnUsage of nodes whose usage changed, and sleeps while none does.
func (r *Registry) reportUntil(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.used:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(usagePeriod):
		}
		for _, n := range r.takeUsage() {
			r.cfg.OnUsage(n)
		}
	}
}

func (r *Registry) takeUsage() []*Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := min(len(r.usageQueue), maxUsageReports)
	nodes := make([]*Node, 0, count)
	for _, e := range r.usageQueue[:count] {
		e.reported = false
		if e.node.State.Active() {
			nodes = append(nodes, e.latest())
		}
	}
	r.usageQueue = append(r.usageQueue[:0:0], r.usageQueue[count:]...)
	if len(r.usageQueue) > 0 {
		notify(r.used)
	}
	return nodes
}

// saveUntil stores changed nodes and, now and then, when nodes were seen.
func (r *Registry) saveUntil(ctx context.Context) {
	touch := time.NewTicker(touchPeriod)
	defer touch.Stop()
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			r.logSave(r.saveDirty(last))
			r.logSave(r.touchActive(last))
			cancel()
			return
		case <-r.kick:
		case <-retry:
		case <-touch.C:
			r.logSave(r.touchActive(ctx))
			continue
		}
		retry = nil
		if err := r.saveDirty(ctx); err != nil {
			r.logSave(err)
			retry = time.After(saveRetry)
		}
	}
}

func (r *Registry) logSave(err error) {
	if err != nil {
		r.cfg.Logger.Error("nodes could not be stored; they live on in memory", "error", err)
	}
}

// saveDirty stores every node that has changed. Those that fail stay dirty.
func (r *Registry) saveDirty(ctx context.Context) error {
	r.mu.Lock()
	ids := r.dirtyIDs
	r.dirtyIDs = nil
	r.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(savers)
	for _, id := range ids {
		group.Go(func() error { return r.saveOne(ctx, id) })
	}
	return group.Wait()
}

func (r *Registry) saveOne(ctx context.Context, id string) error {
	r.mu.RLock()
	e := r.entries[id]
	r.mu.RUnlock()
	if e == nil {
		if err := r.cfg.Store.DeleteNode(ctx, id); err != nil && fault.CodeOf(err) != fault.NotFound {
			return fmt.Errorf("forget node %s: %w", id, err)
		}
		return nil
	}
	e.saving.Lock()
	defer e.saving.Unlock()
	r.mu.Lock()
	if r.entries[id] != e {
		r.mu.Unlock()
		return nil // deleted, and deleted from the store, meanwhile
	}
	e.dirty = false
	known := e.latest().known()
	r.mu.Unlock()
	if err := r.cfg.Store.SaveNode(ctx, known); err != nil {
		r.mu.Lock()
		if !e.dirty {
			e.dirty = true
			r.dirtyIDs = append(r.dirtyIDs, id)
		}
		r.mu.Unlock()
		return fmt.Errorf("store node %s: %w", id, err)
	}
	return nil
}

func (r *Registry) touchActive(ctx context.Context) error {
	r.mu.RLock()
	seen := make(map[string]time.Time, r.active.size)
	for e := r.active.front; e != nil; e = e.next {
		seen[e.node.ID] = e.seen()
	}
	r.mu.RUnlock()
	if len(seen) == 0 {
		return nil
	}
	if err := r.cfg.Store.TouchNodes(ctx, seen); err != nil {
		return fmt.Errorf("store when %d nodes were seen: %w", len(seen), err)
	}
	return nil
}

// known gives what is stored of a node.
func (n *Node) known() Known {
	return Known{
		ID: n.ID, Hostname: n.Hostname, AgentLabels: n.AgentLabels, UserLabels: n.UserLabels,
		AgentTaints: n.AgentTaints, UserTaints: n.UserTaints, Cordoned: n.Cordoned, Drain: n.Drain, AgentVersion: n.AgentVersion, Address: n.Address,
		Capabilities: n.Capabilities, RegisteredAt: n.RegisteredAt, LastSeenAt: n.LastSeenAt,
	}
}

// offline gives the node of which this is known.
func (k Known) offline() *Node {
	return &Node{
		ID: k.ID, Hostname: k.Hostname, State: Offline,
		AgentLabels: k.AgentLabels, UserLabels: k.UserLabels, Labels: mergeLabels(k.AgentLabels, k.UserLabels),
		AgentTaints: k.AgentTaints, UserTaints: k.UserTaints, Taints: mergeTaints(k.AgentTaints, k.UserTaints), Cordoned: k.Cordoned, Drain: k.Drain, AgentVersion: k.AgentVersion, Address: k.Address,
		Capabilities: k.Capabilities, RegisteredAt: k.RegisteredAt, LastSeenAt: k.LastSeenAt,
	}
}
