//go:build !unix

package upstream

import "net"

// socketStaleness cannot tell here: a connection that has ended shows when it is
// used, and another is made.
func socketStaleness(net.Conn) func() bool { return nil }
