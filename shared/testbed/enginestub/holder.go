package enginestub

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"slices"
)

// isHolder recognises the containers that hold networks for those of jobs; see
// node-agent/internal/jobnet, whose words these are.
func isHolder(entrypoint []string) bool { return slices.Contains(entrypoint, "network-holder") }

// attachContainer gives a holder the connection that it talks through. Others have none.
func (e *Engine) attachContainer(w http.ResponseWriter, _ *http.Request, c *container) {
	if !c.program.holder {
		fail(w, http.StatusNotImplemented, "the stub attaches to holders of networks alone")
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the caller has left
	}
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	e.mu.Lock()
	e.attached = append(e.attached, conn)
	e.mu.Unlock()
	select {
	case c.attached <- conn:
	default:
		_ = conn.Close() // it has one
	}
}

// detachAll ends the connections to holders, as when the daemon is restarted.
func (e *Engine) detachAll() {
	e.mu.Lock()
	attached := e.attached
	e.attached = nil
	e.mu.Unlock()
	for _, conn := range attached {
		_ = conn.Close()
	}
}

// hold is what a holder does, until it is killed, or nobody listens and no job is there.
func (c *container) hold() {
	var conn net.Conn
	select {
	case conn = <-c.attached:
	case <-c.ended:
		return
	case <-c.terminate:
		c.end(terminatedCode, true)
		return
	}
	listening := make(chan struct{})
	c.engine.programs.Go(func() {
		defer close(listening)
		c.say(conn, "ready")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if !c.engine.waitUntil(c.ended) {
				return
			}
			c.mu.Lock()
			c.lent = lines.Text() == "lend"
			c.mu.Unlock()
			c.say(conn, map[string]string{"lend": "lent", "look": "clean"}[lines.Text()])
		}
	})
	select {
	case <-listening:
		if c.isLent() {
			<-c.ended
		}
		c.end(0, false)
	case <-c.ended:
	}
	_ = conn.Close()
	<-listening
}

// say writes a line in a frame of standard output.
func (c *container) say(conn net.Conn, word string) {
	frame := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(len(word)+1))
	_, _ = conn.Write(append(frame, word+"\n"...)) // nobody need listen
}

func (c *container) isLent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lent
}

// ready says whether it holds a network that waits for a job.
func (c *container) ready() bool {
	return c.program.holder && c.state() == "running" && !c.isLent()
}

// join looks whether a container can be started in the network that it names, which must be
// lent and another job's no more.
func (e *Engine) join(c *container) error {
	if c.program.network == "" {
		return nil
	}
	holder := e.find(c.program.network)
	if holder == nil || holder.state() != "running" {
		return fmt.Errorf("cannot join network of a non running container: %s", c.program.network)
	}
	for _, other := range e.all() {
		if other != c && other.program.network == holder.id && other.state() == "running" || !holder.isLent() {
			e.mu.Lock()
			e.shared++
			e.mu.Unlock()
			return fmt.Errorf("the network of %s is not %s's", holder.id, c.id)
		}
	}
	e.mu.Lock()
	e.joined++
	e.mu.Unlock()
	return nil
}

// Shared counts the starts of containers in a network that was another one's, or nobody's.
func (e *Engine) Shared() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shared
}

// Joined counts the containers of jobs that were started in a network that was ready.
func (e *Engine) Joined() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.joined
}
