package loopback

import (
	"context"
	"net"
	"runtime"
	"testing"

	"google.golang.org/grpc/peer"
)

func TestHere(t *testing.T) {
	if got := Here(); runtime.GOOS == "linux" && (got.BootID == "" || got.NetworkNamespace == 0 || !got.Equal(Here())) {
		t.Errorf("this place is %+v", got)
	}
}

func TestPlacesAreEqualWhenKnown(t *testing.T) {
	a := Place{"boot", 1}
	cases := map[string]struct {
		a, b Place
		want bool
	}{
		"the same":          {a, a, true},
		"another namespace": {a, Place{"boot", 2}, false},
		"another boot":      {a, Place{"reboot", 1}, false},
		"neither is known":  {Place{}, Place{}, false},
		"one is not known":  {a, Place{}, false},
	}
	for name, c := range cases {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestParse(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:11434": true, "127.1.2.3:1": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"127.0.0.1:0": false, "127.0.0.1": false, "localhost:80": false, "0.0.0.0:80": false, "[::]:80": false,
		"10.0.0.1:80": false, "[::ffff:10.0.0.1]:80": false, "[::1%lo]:80": false, "127.0.0.1:http": false, "": false,
	} {
		if _, ok := Parse(address); ok != want {
			t.Errorf("Parse(%q) = %t", address, ok)
		}
	}
}

func TestIsPeer(t *testing.T) {
	if IsPeer(t.Context()) {
		t.Error("a context without a peer has one at loopback")
	}
	for address, want := range map[net.Addr]bool{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}: true, &net.TCPAddr{IP: net.IPv6loopback}: true,
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}: false, &net.UnixAddr{Name: "/127.0.0.1"}: false,
	} {
		ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: address})
		if got := IsPeer(ctx); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}
