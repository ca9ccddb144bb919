package node

import (
	"context"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// memoryStore is a Store whose next writes can be made to fail.
type memoryStore struct {
	mu      sync.Mutex
	nodes   map[string]Known
	saves   int
	failing error
}

func newMemoryStore(known ...Known) *memoryStore {
	s := &memoryStore{nodes: map[string]Known{}}
	for _, k := range known {
		s.nodes[k.ID] = k
	}
	return s
}

func (s *memoryStore) SaveNode(_ context.Context, n Known) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		return s.failing
	}
	s.saves++
	s.nodes[n.ID] = n
	return nil
}

func (s *memoryStore) TouchNodes(_ context.Context, seen map[string]time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range seen {
		n := s.nodes[id]
		n.LastSeenAt = at
		s.nodes[id] = n
	}
	return s.failing
}

func (s *memoryStore) DeleteNode(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.nodes[id]; !ok {
		return fault.New(fault.NotFound, "no node")
	}
	delete(s.nodes, id)
	return nil
}

func (s *memoryStore) ListNodes(context.Context) ([]Known, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Known
	for _, n := range s.nodes {
		all = append(all, n)
	}
	return all, nil
}

func (s *memoryStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

func (s *memoryStore) saved() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves
}

func (s *memoryStore) get(id string) (Known, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nodes[id]
	return n, ok
}
