package modelshare

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/orchion/orchion/shared/modelpull"
)

// Pull gets a model for this node without serving it, and tells through report how far it is,
// from its own goroutine.
type Pull func(ctx context.Context, wanted Wanted, report func(modelpull.Progress)) error

// Wanted says what is to be got.
type Wanted struct {
	// ID names the wish, so that files from other nodes can be had for it.
	ID    string
	Model string
	Image string // of the engine; empty: the default
}

// pull gets a model as long as the connection lasts, and answers with lines of progress, of
// which the last says how it ended.
func (s *Server) pull(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	wanted := Wanted{ID: query.Get("id"), Model: query.Get("model"), Image: query.Get("image")}
	if wanted.ID == "" || wanted.Model == "" {
		http.Error(w, "id and model must be given", http.StatusBadRequest)
		return
	}
	select {
	case s.pulling <- struct{}{}:
		defer func() { <-s.pulling }()
	default:
		http.Error(w, fmt.Sprintf("%d models are being pulled already, the most at once", cap(s.pulling)), http.StatusServiceUnavailable)
		return
	}
	s.pulls.Add(1)
	defer s.pulls.Done()
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines, flush := json.NewEncoder(w), http.NewResponseController(w)
	last := modelpull.Progress{State: modelpull.Pulling}
	tell := func(p modelpull.Progress) {
		last = p
		if lines.Encode(p) == nil {
			_ = flush.Flush() // whoever left ends the request, and with it the pull
		}
	}
	tell(last)
	err := s.cfg.Pull(r.Context(), wanted, tell)
	last.State, last.Reason = modelpull.Pulled, ""
	if err != nil {
		last.State, last.Reason = modelpull.Failed, err.Error()
	}
	tell(last)
}
