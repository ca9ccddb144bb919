package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// upkeep is how it is kept which work a node takes.
type upkeep struct {
	AgentTaints []string    `json:"agentTaints,omitempty"`
	UserTaints  []string    `json:"userTaints,omitempty"`
	Cordoned    bool        `json:"cordoned,omitempty"`
	Drain       *node.Drain `json:"drain,omitempty"`
}

// SaveNode inserts or replaces what is known of a node.
func (s *Store) SaveNode(ctx context.Context, n node.Known) error {
	if n.ID == "" {
		return fault.BadField("id", "is empty; a node needs an id")
	}
	agentLabels, err := toJSON(n.AgentLabels)
	if err != nil {
		return err
	}
	userLabels, err := toJSON(n.UserLabels)
	if err != nil {
		return err
	}
	kept, err := toJSON(upkeep{AgentTaints: n.AgentTaints, UserTaints: n.UserTaints, Cordoned: n.Cordoned, Drain: n.Drain})
	if err != nil {
		return err
	}
	capabilities, err := toJSON(n.Capabilities)
	if err != nil {
		return err
	}
	return s.change(ctx, oneStatement, func(t *tx) error {
		if err := t.exec(`REPLACE INTO nodes (id, hostname, agent_labels, user_labels, upkeep, agent_version, address, capabilities, registered_at, last_seen_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			n.ID, n.Hostname, agentLabels, userLabels, kept, n.AgentVersion, n.Address, capabilities, toNanos(n.RegisteredAt), toNanos(n.LastSeenAt)); err != nil {
			return fmt.Errorf("saving node %s: %w", n.ID, err)
		}
		return nil
	})
}

// TouchNodes sets LastSeenAt of the known among nodes.
func (s *Store) TouchNodes(ctx context.Context, seen map[string]time.Time) error {
	if len(seen) == 0 {
		return nil
	}
	return s.change(ctx, severalStatements, func(t *tx) error {
		for id, at := range seen {
			if err := t.exec("UPDATE nodes SET last_seen_at = ? WHERE id = ?", toNanos(at), id); err != nil {
				return fmt.Errorf("touching node %s: %w", id, err)
			}
		}
		return nil
	})
}

// DeleteNode forgets a node.
func (s *Store) DeleteNode(ctx context.Context, id string) error {
	return s.remove(ctx, "DELETE FROM nodes WHERE id = ?", id, store.NoNode)
}

// remove deletes one row; none there is missing's error.
func (s *Store) remove(ctx context.Context, text, id string, missing func(string) error) error {
	return s.change(ctx, oneStatement, func(t *tx) error { return t.remove(text, id, missing) })
}

// remove deletes a row by its name.
func (t *tx) remove(text, id string, missing func(string) error) error {
	result, err := t.execCounting(text, id)
	if err != nil {
		return fmt.Errorf("deleting %s: %w", id, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("deleting %s: %w", id, err)
	}
	if n == 0 {
		return missing(id)
	}
	return nil
}

// ListNodes answers all known nodes, ordered by id.
func (s *Store) ListNodes(ctx context.Context) ([]node.Known, error) {
	var nodes []node.Known
	err := s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, `SELECT id, hostname, agent_labels, user_labels, upkeep, agent_version, address, capabilities, registered_at, last_seen_at
			FROM nodes ORDER BY id`)
		if err != nil {
			return fmt.Errorf("listing nodes: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var n node.Known
			var agentLabels, userLabels, upkept, capabilities []byte
			var registered, lastSeen int64
			if err := rows.Scan(&n.ID, &n.Hostname, &agentLabels, &userLabels, &upkept, &n.AgentVersion, &n.Address, &capabilities, &registered, &lastSeen); err != nil {
				return fmt.Errorf("listing nodes: %w", err)
			}
			n.RegisteredAt, n.LastSeenAt = fromNanos(registered), fromNanos(lastSeen)
			if err := fromJSON(agentLabels, &n.AgentLabels, "labels of node", n.ID); err != nil {
				return err
			}
			if err := fromJSON(userLabels, &n.UserLabels, "labels of node", n.ID); err != nil {
				return err
			}
			var kept upkeep
			if err := fromJSON(upkept, &kept, "upkeep of node", n.ID); err != nil {
				return err
			}
			n.AgentTaints, n.UserTaints, n.Cordoned, n.Drain = kept.AgentTaints, kept.UserTaints, kept.Cordoned, kept.Drain
			if err := fromJSON(capabilities, &n.Capabilities, "capabilities of node", n.ID); err != nil {
				return err
			}
			nodes = append(nodes, n)
		}
		return rows.Err()
	})
	return nodes, err
}

// PutDeployment inserts or replaces a deployment, without its replicas.
func (s *Store) PutDeployment(ctx context.Context, d model.Deployment) error {
	if d.Name == "" {
		return fault.BadField("name", "is empty; a deployment needs a name")
	}
	labels, err := toJSON(d.Labels)
	if err != nil {
		return err
	}
	spec, err := toJSON(d.Spec)
	if err != nil {
		return err
	}
	return s.change(ctx, oneStatement, func(t *tx) error {
		// Not REPLACE: that deletes, and with the deployment its replicas.
		if err := t.exec(`INSERT INTO deployments (name, labels, spec, deleting, created_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, spec = excluded.spec, deleting = excluded.deleting, created_at = excluded.created_at`,
			d.Name, labels, spec, d.Deleting, toNanos(d.CreatedAt)); err != nil {
			return fmt.Errorf("saving deployment %s: %w", d.Name, err)
		}
		return nil
	})
}

// DeleteDeployment removes a deployment and its replicas.
func (s *Store) DeleteDeployment(ctx context.Context, name string) error {
	return s.remove(ctx, "DELETE FROM deployments WHERE name = ?", name, store.NoDeployment)
}

// PutReplica inserts or replaces the placement of a replica.
func (s *Store) PutReplica(ctx context.Context, r model.Replica) error {
	if r.ID == "" {
		return fault.BadField("id", "is empty; a replica needs an id")
	}
	gpus, err := toJSON(r.GPUs)
	if err != nil {
		return err
	}
	return s.change(ctx, oneStatement, func(t *tx) error {
		result, err := t.execCounting(`INSERT INTO replicas (id, deployment, node_id, remove, gpus)
			SELECT ?, name, ?, ?, ? FROM deployments WHERE name = ?
			ON CONFLICT (id) DO UPDATE SET deployment = excluded.deployment, node_id = excluded.node_id, remove = excluded.remove, gpus = excluded.gpus`,
			r.ID, r.NodeID, r.Remove, gpus, r.Deployment)
		if err != nil {
			return fmt.Errorf("saving replica %s: %w", r.ID, err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return fmt.Errorf("saving replica %s: %w", r.ID, err)
		}
		if n == 0 {
			return store.NoDeployment(r.Deployment)
		}
		return nil
	})
}

// DeleteReplica removes the placement of a replica.
func (s *Store) DeleteReplica(ctx context.Context, id string) error {
	return s.remove(ctx, "DELETE FROM replicas WHERE id = ?", id, store.NoReplica)
}

// ListDeployments answers all deployments with the placement of their
// replicas.
func (s *Store) ListDeployments(ctx context.Context) ([]model.Deployment, error) {
	var deployments []model.Deployment
	err := s.reading(ctx, func() error {
		// One query, so that both tables are seen at one moment.
		rows, err := s.read.QueryContext(ctx, `SELECT d.name, d.labels, d.spec, d.deleting, d.created_at,
				coalesce(r.id, ''), coalesce(r.node_id, ''), coalesce(r.remove, 0), coalesce(r.gpus, 'null')
			FROM deployments d LEFT JOIN replicas r ON r.deployment = d.name ORDER BY d.name, r.id`)
		if err != nil {
			return fmt.Errorf("listing deployments: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var d model.Deployment
			var r model.Replica
			var labels, spec, gpus []byte
			var created int64
			if err := rows.Scan(&d.Name, &labels, &spec, &d.Deleting, &created, &r.ID, &r.NodeID, &r.Remove, &gpus); err != nil {
				return fmt.Errorf("listing deployments: %w", err)
			}
			if len(deployments) == 0 || deployments[len(deployments)-1].Name != d.Name {
				d.CreatedAt = fromNanos(created)
				if err := fromJSON(labels, &d.Labels, "labels of deployment", d.Name); err != nil {
					return err
				}
				if err := fromJSON(spec, &d.Spec, "spec of deployment", d.Name); err != nil {
					return err
				}
				deployments = append(deployments, d)
			}
			if r.ID != "" {
				newest := &deployments[len(deployments)-1]
				r.Deployment = d.Name
				if err := fromJSON(gpus, &r.GPUs, "GPUs of replica", r.ID); err != nil {
					return err
				}
				newest.Replicas = append(newest.Replicas, r)
			}
		}
		return rows.Err()
	})
	return deployments, err
}
