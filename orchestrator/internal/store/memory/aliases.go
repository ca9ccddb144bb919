package memory

import (
	"cmp"
	"context"

	"github.com/orchion/orchion/orchestrator/internal/alias"
)

// PutAlias inserts or replaces an alias.
func (s *Store) PutAlias(ctx context.Context, a alias.Alias) error {
	return s.do(ctx, func() error {
		if err := a.Validate(); err != nil {
			return err
		}
		s.aliases[a.Name] = a
		return nil
	})
}

// DeleteAlias forgets an alias.
func (s *Store) DeleteAlias(ctx context.Context, name string) error {
	return s.do(ctx, func() error {
		if _, ok := s.aliases[name]; !ok {
			return alias.None(name)
		}
		delete(s.aliases, name)
		return nil
	})
}

// ListAliases answers all aliases, ordered by name.
func (s *Store) ListAliases(ctx context.Context) ([]alias.Alias, error) {
	var list []alias.Alias
	err := s.do(ctx, func() error {
		list = sortedValues(s.aliases, func(a, b alias.Alias) int { return cmp.Compare(a.Name, b.Name) })
		return nil
	})
	return list, err
}
