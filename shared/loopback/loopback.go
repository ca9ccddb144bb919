// Package loopback tells whether two programs share their loopback addresses, so
// that one of them can connect to what the other reaches on its own machine.
package loopback

import (
	"context"
	"net"
	"net/netip"

	"google.golang.org/grpc/peer"
)

// Place is what has one loopback network of its own. Two programs with equal places
// run under one kernel, which was started at one time, and in one network namespace.
// The zero value is not known.
type Place struct {
	BootID           string
	NetworkNamespace uint64
}

// Equal says whether both are known and the same.
func (p Place) Equal(o Place) bool { return p != Place{} && p == o }

// Here gives this program's place, and the zero value where the system does not
// tell: elsewhere than on Linux.
func Here() Place { return here() }

// IsPeer says whether the other end of a gRPC call is at an address of loopback.
// That alone proves little, since what forwards ports is at one, too.
func IsPeer(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Parse reads the address and port of something that listens on loopback.
func Parse(address string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Unmap().IsLoopback() || a.Addr().Zone() != "" || a.Port() == 0 {
		return netip.AddrPort{}, false
	}
	return a, true
}
