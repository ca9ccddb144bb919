//go:build !unix

package streamconn

import "net"

func socketReader(net.Conn) readFunc { return nil }
