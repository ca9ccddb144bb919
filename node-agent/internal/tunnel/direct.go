package tunnel

import (
	"context"
	"net"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

// direct gives the address at which the orchestrator reaches what it asks for itself:
// it runs in this place, what it asks for may be reached as through a tunnel, listens
// on loopback, and takes no TLS, which is this program's to speak.
func (s *Server) direct(ask *orchionv1.OpenTunnel) (address string, ok bool) {
	place := loopback.Place{BootID: ask.GetPlace().GetBootId(), NetworkNamespace: ask.GetPlace().GetNetworkNamespace()}
	if !s.cfg.Place.Equal(place) {
		return "", false
	}
	address, secure, err := s.resolve(ask)
	if err != nil || secure {
		return "", false // the tunnel's way says what is wrong
	}
	if host, _, err := net.SplitHostPort(address); err == nil && host == "localhost" {
		address = s.addressOf(address)
	}
	_, ok = loopback.Parse(address)
	return address, ok
}

// addressOf gives the address at which a name answers, and nothing if none does.
func (s *Server) addressOf(name string) string {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", name)
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.RemoteAddr().String()
}
