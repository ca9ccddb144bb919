//go:build unix

package main

import "github.com/orchion/orchion/shared/testbed/ways"

// networks are the kinds of networks that a run can have.
const (
	networkAuto    = "auto"
	networkFilter  = "filter"
	networkProxies = "proxies"
)

// newWay makes the way of the machine of that number, from 1, to the orchestrator: a packet
// filter where there may be one, and a proxy elsewhere.
func newWay(n int, orchestrator string) (ways.Way, error) {
	if inOwnNetwork() {
		return newFilter(n, orchestrator)
	}
	return ways.NewProxy(orchestrator)
}
