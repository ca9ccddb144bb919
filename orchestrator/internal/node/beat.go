package node

import "time"

// beat is what the last heartbeat of an active node said. It is changed in place,
// and a value of the node with it is made when somebody looks: there are far more
// heartbeats than looks.
type beat struct {
	usage Usage
	at    time.Time
	// untold: the node's value is without it.
	untold bool
}

// latest is the node with its last heartbeat. The registry must be locked for
// writing, unlike for entry.node, of which usage and when it was seen may be old.
func (e *entry) latest() *Node {
	if e.beat != nil && e.beat.untold {
		n := *e.node
		n.Usage, n.LastSeenAt = e.beat.usage, e.beat.at
		e.node, e.beat.untold = &n, false
	}
	return e.node
}

// seen is when the node was heard of last.
func (e *entry) seen() time.Time {
	if e.beat != nil {
		return e.beat.at
	}
	return e.node.LastSeenAt
}
