// Package memory is a store that forgets: for tests of what stands on a store,
// and the plainest implementation to hold the others against.
package memory

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// Store keeps everything in maps. Make one with New.
type Store struct {
	mu          sync.Mutex // guards everything below
	closed      bool
	nodes       map[string]node.Known
	jobs        map[string]job.Job
	keys        map[string]string   // idempotency key -> job id
	arrays      map[string][]string // array id -> job ids
	deleted     map[string]struct{} // jobs that DeleteEnded deleted
	artifacts   map[job.Ref]artifactSet
	queues      map[string]job.Queue
	schedules   map[string]schedule.Schedule
	aliases     map[string]alias.Alias
	deployments map[string]model.Deployment
	replicas    map[string]model.Replica
	usage       map[usageKey]usage.Counts
}

var _ store.Store = (*Store)(nil)

// New makes an empty store.
func New() *Store {
	return &Store{
		nodes:       map[string]node.Known{},
		jobs:        map[string]job.Job{},
		keys:        map[string]string{},
		arrays:      map[string][]string{},
		deleted:     map[string]struct{}{},
		artifacts:   map[job.Ref]artifactSet{},
		queues:      map[string]job.Queue{},
		schedules:   map[string]schedule.Schedule{},
		aliases:     map[string]alias.Alias{},
		deployments: map[string]model.Deployment{},
		replicas:    map[string]model.Replica{},
		usage:       map[usageKey]usage.Counts{},
	}
}

// do runs f with the store locked, unless it is closed or the caller is gone.
func (s *Store) do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return store.Abandoned(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Closed()
	}
	return f()
}

// SaveNode inserts or replaces what is known of a node.
func (s *Store) SaveNode(ctx context.Context, n node.Known) error {
	return s.do(ctx, func() error {
		if n.ID == "" {
			return fault.BadField("id", "is empty; a node needs an id")
		}
		s.nodes[n.ID] = n
		return nil
	})
}

// TouchNodes sets LastSeenAt of the known among nodes.
func (s *Store) TouchNodes(ctx context.Context, seen map[string]time.Time) error {
	return s.do(ctx, func() error {
		for id, at := range seen {
			if n, ok := s.nodes[id]; ok {
				n.LastSeenAt = at
				s.nodes[id] = n
			}
		}
		return nil
	})
}

// DeleteNode forgets a node.
func (s *Store) DeleteNode(ctx context.Context, id string) error {
	return s.do(ctx, func() error {
		if _, ok := s.nodes[id]; !ok {
			return store.NoNode(id)
		}
		delete(s.nodes, id)
		return nil
	})
}

// ListNodes answers all known nodes, ordered by id.
func (s *Store) ListNodes(ctx context.Context) ([]node.Known, error) {
	var list []node.Known
	err := s.do(ctx, func() error {
		list = sortedValues(s.nodes, func(a, b node.Known) int { return cmp.Compare(a.ID, b.ID) })
		return nil
	})
	return list, err
}

// PutDeployment inserts or replaces a deployment, without its replicas.
func (s *Store) PutDeployment(ctx context.Context, d model.Deployment) error {
	return s.do(ctx, func() error {
		if d.Name == "" {
			return fault.BadField("name", "is empty; a deployment needs a name")
		}
		d.Replicas = nil
		s.deployments[d.Name] = d
		return nil
	})
}

// DeleteDeployment removes a deployment and its replicas.
func (s *Store) DeleteDeployment(ctx context.Context, name string) error {
	return s.do(ctx, func() error {
		if _, ok := s.deployments[name]; !ok {
			return store.NoDeployment(name)
		}
		delete(s.deployments, name)
		for id, r := range s.replicas {
			if r.Deployment == name {
				delete(s.replicas, id)
			}
		}
		return nil
	})
}

// PutReplica inserts or replaces the placement of a replica.
func (s *Store) PutReplica(ctx context.Context, r model.Replica) error {
	return s.do(ctx, func() error {
		if r.ID == "" {
			return fault.BadField("id", "is empty; a replica needs an id")
		}
		if _, ok := s.deployments[r.Deployment]; !ok {
			return store.NoDeployment(r.Deployment)
		}
		s.replicas[r.ID] = model.Replica{ID: r.ID, Deployment: r.Deployment, NodeID: r.NodeID, GPUs: r.GPUs, Remove: r.Remove}
		return nil
	})
}

// DeleteReplica removes the placement of a replica.
func (s *Store) DeleteReplica(ctx context.Context, id string) error {
	return s.do(ctx, func() error {
		if _, ok := s.replicas[id]; !ok {
			return store.NoReplica(id)
		}
		delete(s.replicas, id)
		return nil
	})
}

// ListDeployments answers all deployments with the placement of their
// replicas.
func (s *Store) ListDeployments(ctx context.Context) ([]model.Deployment, error) {
	var list []model.Deployment
	err := s.do(ctx, func() error {
		list = sortedValues(s.deployments, func(a, b model.Deployment) int { return cmp.Compare(a.Name, b.Name) })
		for _, r := range sortedValues(s.replicas, func(a, b model.Replica) int { return cmp.Compare(a.ID, b.ID) }) {
			i, _ := slices.BinarySearchFunc(list, r.Deployment, func(d model.Deployment, name string) int {
				return cmp.Compare(d.Name, name)
			})
			list[i].Replicas = append(list[i].Replicas, r)
		}
		return nil
	})
	return list, err
}

// Close makes every later call Unavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// sortedValues are the values of a map in order; nil when there are none.
func sortedValues[V any](m map[string]V, compare func(a, b V) int) []V {
	var list []V
	for _, v := range m {
		list = append(list, v)
	}
	slices.SortFunc(list, compare)
	return list
}
