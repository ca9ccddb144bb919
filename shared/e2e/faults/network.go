//go:build unix

package main

// A way leads from a node agent to the orchestrator, where the network would: a
// packet filter where there may be one, and a proxy elsewhere.
type way interface {
	// address is what the node agent dials.
	address() string
	// hold holds directions up, as a partition does, until the answer is called.
	hold(directions ...direction) (release func(), err error)
	// reset breaks the connections that are open.
	reset() error
	close()
}

// direction is a way through a network.
type direction int

const (
	up   direction = iota // from the node agent
	down                  // to it
)

// networks are the kinds of networks that a run can have.
const (
	networkAuto    = "auto"
	networkFilter  = "filter"
	networkProxies = "proxies"
)

// newWay makes the way of the machine of that number, from 1.
func newWay(n int, orchestrator string) (way, error) {
	if inOwnNetwork() {
		return newFilter(n, orchestrator)
	}
	return newProxy(orchestrator)
}
