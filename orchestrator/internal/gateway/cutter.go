package gateway

import "bytes"

// maxHalf is the most of an event that is held back until the rest of it comes.
const maxHalf = 16 << 10

// cutter lets only whole events of a stream through, so that an engine that breaks off within
// one leaves no half of it at the client, where the error after it could not be read. Clients
// can do nothing with half an event: it costs them no time.
type cutter struct {
	framing framing
	buf     []byte // what was held back, after what was let through of it
	given   int
}

// next gives what may go on of a piece and of what was held back before it. It is valid until
// the call after it.
func (c *cutter) next(piece []byte) []byte {
	if c.framing == noStream {
		return piece
	}
	if len(c.rest()) == 0 {
		end := c.end(piece)
		if end < len(piece) {
			c.buf, c.given = append(c.buf[:0], piece[end:]...), 0
		}
		return piece[:end]
	}
	c.buf = append(c.buf[:copy(c.buf, c.rest())], piece...)
	c.given = c.end(c.buf)
	return c.buf[:c.given]
}

// rest is what is held back.
func (c *cutter) rest() []byte { return c.buf[c.given:] }

// end finds where the last whole event ends, or the end where the next is too large to hold.
func (c *cutter) end(piece []byte) int {
	if c.framing != ndjson && bytes.HasSuffix(piece, []byte("\n\n")) {
		return len(piece)
	}
	end := 0
	if c.framing == ndjson {
		end = bytes.LastIndexByte(piece, '\n') + 1
	} else {
		for _, mark := range eventEnds {
			if i := bytes.LastIndex(piece, mark); i >= 0 {
				end = max(end, i+len(mark))
			}
		}
	}
	if len(piece)-end > maxHalf {
		return len(piece)
	}
	return end
}

// eventEnds are how an event of a stream of Server-Sent Events may end.
var eventEnds = [][]byte{[]byte("\n\n"), []byte("\n\r\n"), []byte("\r\r")}
