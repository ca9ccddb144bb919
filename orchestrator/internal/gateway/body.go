package gateway

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// readBody reads a request's body within the limits. release gives the memory
// it is counted for back and must be called when there is no error.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), failure *apiError) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, nil, errEncoding(encoding)
	}
	size := r.ContentLength
	if size > g.cfg.MaxBody {
		return nil, nil, errTooLarge(g.cfg.MaxBody)
	}
	reserved := size
	if size < 0 { // chunked: it may become as large as is allowed
		reserved = g.cfg.MaxBody
	}
	if !g.bodies.TryAcquire(reserved) {
		return nil, nil, errBusy()
	}
	release = func() { g.bodies.Release(reserved) }
	body, failure = g.readReserved(w, r, size)
	if failure != nil {
		release()
		return nil, nil, failure
	}
	return body, release, nil
}

func (g *Gateway) readReserved(w http.ResponseWriter, r *http.Request, size int64) ([]byte, *apiError) {
	source := &pacedReader{reader: r.Body, controller: http.NewResponseController(w), pause: g.cfg.BodyTimeout}
	body, err := source.all(w, size, g.cfg.MaxBody)
	if err != nil {
		// The deadline stays, since the server goes on to read what is left.
		w.Header().Set("Connection", "close")
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, errTooLarge(g.cfg.MaxBody)
		}
		return nil, errBadRequest(errors.New("the body could not be read to its end"), "")
	}
	// An error says that this writer has no deadlines, and then none was set.
	_ = source.controller.SetReadDeadline(time.Time{})
	return body, nil
}

// pacedReader bounds the time of every read.
type pacedReader struct {
	reader     io.ReadCloser
	controller *http.ResponseController
	pause      time.Duration
}

// all reads a body of the size given, which the server sees to; below 0 it is not
// known and at most as given.
func (p *pacedReader) all(w http.ResponseWriter, size, most int64) ([]byte, error) {
	if size < 0 {
		p.reader = http.MaxBytesReader(w, p.reader, most)
		return io.ReadAll(p)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(p, body)
	return body, err
}

func (p *pacedReader) Read(b []byte) (int, error) {
	// A writer without deadlines is one of a test or behind a middleware that
	// hides them; the server's own timeouts hold then.
	if err := p.controller.SetReadDeadline(time.Now().Add(p.pause)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.reader.Read(b)
}
