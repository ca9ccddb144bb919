package blob

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// Grace is how long a blob that nobody uses is kept after it was last wanted.
	Grace = time.Hour
	// every is how often unused blobs are looked for.
	every = 10 * time.Minute
)

// KeeperConfig says what a Keeper tidies up. Blobs and InUse must be set.
type KeeperConfig struct {
	Blobs *Store
	InUse InUse
	// Logger gets what happens. Default: nowhere.
	Logger *slog.Logger
}

// Keeper removes blobs that nobody uses. Make one with NewKeeper.
type Keeper struct {
	cfg KeeperConfig

	mu      sync.Mutex // guards what follows and serialises Start and Stop
	cancel  context.CancelFunc
	stopped bool
	loop    sync.WaitGroup
}

// NewKeeper makes a keeper; call Start.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Blobs == nil || cfg.InUse == nil {
		return nil, errors.New("blob: KeeperConfig needs Blobs and InUse")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{cfg: cfg}, nil
}

// Start begins to tidy up. ctx bounds nothing that goes on after it.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil || k.stopped {
		return errors.New("blob: Start was called before")
	}
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	k.loop.Go(func() { k.run(ctx) })
	return nil
}

// Stop ends that and waits until nothing is under way. It may be called twice.
func (k *Keeper) Stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.cancel != nil {
		k.cancel()
		k.loop.Wait()
	}
}

func (k *Keeper) run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		removed, err := k.cfg.Blobs.Sweep(ctx, time.Now().Add(-Grace), k.cfg.InUse)
		switch {
		case err != nil && ctx.Err() == nil:
			k.cfg.Logger.Error("unused blobs could not be removed", "retry_in", every, "error", err)
		case removed > 0:
			k.cfg.Logger.Info("unused blobs removed", "blobs", removed)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
