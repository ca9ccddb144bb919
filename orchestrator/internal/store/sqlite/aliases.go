package sqlite

import (
	"context"
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/alias"
)

// PutAlias inserts or replaces an alias.
func (s *Store) PutAlias(ctx context.Context, a alias.Alias) error {
	if err := a.Validate(); err != nil {
		return err
	}
	models, err := toJSON(a.Models)
	if err != nil {
		return err
	}
	return s.change(ctx, oneStatement, func(t *tx) error {
		if err := t.exec("REPLACE INTO aliases (name, models) VALUES (?, ?)", a.Name, models); err != nil {
			return fmt.Errorf("saving the alias %s: %w", a.Name, err)
		}
		return nil
	})
}

// DeleteAlias forgets an alias.
func (s *Store) DeleteAlias(ctx context.Context, name string) error {
	return s.remove(ctx, "DELETE FROM aliases WHERE name = ?", name, alias.None)
}

// ListAliases answers all aliases, ordered by name.
func (s *Store) ListAliases(ctx context.Context) ([]alias.Alias, error) {
	var list []alias.Alias
	err := s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, "SELECT name, models FROM aliases ORDER BY name")
		if err != nil {
			return fmt.Errorf("listing aliases: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var a alias.Alias
			var models []byte
			if err := rows.Scan(&a.Name, &models); err != nil {
				return fmt.Errorf("listing aliases: %w", err)
			}
			if err := fromJSON(models, &a.Models, "models of alias", a.Name); err != nil {
				return err
			}
			list = append(list, a)
		}
		return rows.Err()
	})
	return list, err
}
