package tunnel

import (
	"time"

	"github.com/orchion/orchion/shared/streamconn"
)

// lingerTime bounds how long the end of an answer may take to be read.
const lingerTime = time.Minute

// servedConn is a connection whose server says that it is done with it by Close.
// What it wrote must still be delivered, which ending the stream would cut off.
type servedConn struct {
	*streamconn.Conn

	closed func()
}

// Close implements net.Conn.
func (c *servedConn) Close() error {
	c.closed()
	return nil
}

// linger ends a connection once the other end has read what was written.
func linger(conn *streamconn.Conn) {
	defer conn.Close()
	if conn.CloseWrite() != nil {
		return // it is broken already
	}
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-conn.Done():
	case <-timer.C:
	}
}
