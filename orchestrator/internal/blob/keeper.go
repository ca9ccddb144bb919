package blob

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/upkeep"
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
	*upkeep.Loop

	cfg KeeperConfig
}

// NewKeeper makes a keeper; call Start.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Blobs == nil || cfg.InUse == nil {
		return nil, errors.New("blob: KeeperConfig needs Blobs and InUse")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: cfg}
	k.Loop = upkeep.New(every, k.round)
	return k, nil
}

func (k *Keeper) round(ctx context.Context) {
	removed, err := k.cfg.Blobs.Sweep(ctx, time.Now().Add(-Grace), k.cfg.InUse)
	switch {
	case err != nil && ctx.Err() == nil:
		k.cfg.Logger.Error("unused blobs could not be removed", "retry_in", every, "error", err)
	case removed > 0:
		k.cfg.Logger.Info("unused blobs removed", "blobs", removed)
	}
}
