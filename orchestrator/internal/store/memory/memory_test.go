package memory_test

import (
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
	"github.com/orchion/orchion/orchestrator/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Implementation{
		Open: func(*testing.T) store.Store { return memory.New() },
	})
}
