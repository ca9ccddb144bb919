//go:build unix

package ways

import (
	"context"
	"net"
	"sync"
)

// A Proxy is a way that can be closed without any rights: what is held up arrives
// when the partition ends.
type Proxy struct {
	listener net.Listener
	upstream string

	mu    sync.Mutex // guards what follows
	open  map[net.Conn]struct{}
	gates [2]chan struct{} // by Direction; not nil: held up until it is closed
	over  bool
	wg    sync.WaitGroup
}

// NewProxy leads to an address.
func NewProxy(upstream string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, upstream: upstream, open: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Address implements Way.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	// A node behind a partition gets no answer, not even a refusal.
	if !p.pass(Up) || !p.pass(Down) {
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.add(client, server) {
		return
	}
	defer p.drop(client, server)
	ended := make(chan struct{}, 2)
	copyOne := func(to, from net.Conn, way Direction) {
		defer func() { ended <- struct{}{} }()
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				if !p.pass(way) {
					return
				}
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	p.wg.Go(func() { copyOne(server, client, Up) })
	p.wg.Go(func() { copyOne(client, server, Down) })
	<-ended
	// The other direction ends with the connections.
}

// pass waits while a Direction is held up; false: the proxy has ended.
func (p *Proxy) pass(way Direction) bool {
	for {
		p.mu.Lock()
		gate, over := p.gates[way], p.over
		p.mu.Unlock()
		if over {
			return false
		}
		if gate == nil {
			return true
		}
		<-gate
	}
}

// Hold implements Way.
func (p *Proxy) Hold(directions ...Direction) (release func(), err error) {
	gates := map[Direction]chan struct{}{}
	p.mu.Lock()
	for _, way := range directions {
		if p.gates[way] == nil {
			gates[way] = make(chan struct{})
			p.gates[way] = gates[way]
		}
	}
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for way, gate := range gates {
			if p.gates[way] == gate {
				p.gates[way] = nil
				close(gate)
			}
		}
	}, nil
}

// Reset implements Way.
func (p *Proxy) Reset() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close() // ends its copying
	}
	return nil
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	for _, c := range conns {
		p.open[c] = struct{}{}
	}
	return true
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

// Close implements Way.
func (p *Proxy) Close() {
	_ = p.listener.Close() // ends accept
	p.mu.Lock()
	p.over = true
	for way, gate := range p.gates {
		if gate != nil {
			close(gate)
			p.gates[way] = nil
		}
	}
	for c := range p.open {
		_ = c.Close() // ends its copying
	}
	p.mu.Unlock()
	p.wg.Wait()
}
