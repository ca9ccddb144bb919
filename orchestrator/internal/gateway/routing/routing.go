// Package routing decides which replica of a model gets a request. It keeps
// account of what each replica has to do, how fast it was lately, whose
// beginnings of conversations it has read, and whether it answers at all. It
// knows nothing of HTTP: the gateway asks for a lease on a replica, carries the
// request there, and gives the lease back with what became of it.
//
// Choosing itself is a function over candidates with numbers (Choose), and what
// it chose by can be said in words.
package routing

import (
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// key names an engine on a node, as far as it serves one model.
type key struct {
	nodeID, replicaID, endpoint string
}

func keyOf(r *model.Route) key {
	return key{nodeID: r.NodeID, replicaID: r.ReplicaID, endpoint: r.EngineEndpoint}
}
