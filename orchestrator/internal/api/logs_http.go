package api

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// maxLogPosition bounds what is taken for a position in a log.
	maxLogPosition = 256
	// notePrefix tells notes from output where there is only text.
	notePrefix = "orchion: "
)

// logStream serves /api/jobs/{id}/logs.
type logStream struct {
	cfg    *Config
	logs   *logReader
	until  func(context.Context) (context.Context, context.CancelFunc)
	report func(ctx context.Context, method string, err error) *status.Status
}

func (h *logStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, err := logQueryFromHTTP(r)
	if err != nil {
		writeError(w, err)
		return
	}
	if r.Method == http.MethodHead {
		// Whether there is a log, and of which kind: a little of it tells.
		query.follow, query.position, query.tail = false, "", 1
	}
	ctx, cancel := h.until(r.Context())
	defer cancel()
	out := newLogWriter(w, r)
	err = h.logs.read(ctx, query, func(batch logBatch) error {
		return out.write(batch)
	})
	if err == nil || r.Context().Err() != nil {
		return
	}
	st := h.report(ctx, "GET /api/jobs/{id}/logs", err)
	if !out.began() {
		writeError(w, st.Err())
		return
	}
	out.fail(st)
}

func logQueryFromHTTP(r *http.Request) (logQuery, error) {
	var none logQuery
	values := r.URL.Query()
	if err := checkParameters(values, []string{"follow", "attempt", "tail", "since", "grep"}); err != nil {
		return none, err
	}
	req := &orchionv1.ReadJobLogsRequest{Id: r.PathValue("id")}
	if text := values.Get("follow"); text != "" {
		follow, err := strconv.ParseBool(text)
		if err != nil {
			return none, fault.BadField("follow", "is %q; allowed are true, false", clip(text))
		}
		req.Follow = follow
	}
	var err error
	if req.Attempt, err = numberFromQuery(values, "attempt"); err != nil {
		return none, err
	}
	if req.Tail, err = numberFromQuery(values, "tail"); err != nil {
		return none, err
	}
	if text := values.Get("since"); text != "" {
		since, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return none, fault.BadField("since", "is %q; it must be a time such as 2006-01-02T15:04:05Z", clip(text))
		}
		req.Since = timestamppb.New(since)
	}
	req.Grep = values.Get("grep")
	query, err := logQueryFromProto(req)
	if err != nil {
		return none, err
	}
	// The ids of the event stream are positions: a browser that connects again
	// goes on where it was.
	if query.position = r.Header.Get("Last-Event-ID"); len(query.position) > maxLogPosition {
		return none, fault.BadField("Last-Event-ID", "has %d characters; at most %d are allowed", len(query.position), maxLogPosition)
	}
	return query, nil
}

func numberFromQuery(values url.Values, name string) (int32, error) {
	text := values.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fault.BadField(name, "is %q; it must be a whole number", clip(text))
	}
	return int32(n), nil
}

// logWriter writes batches of a log in one of the formats that Accept can ask
// for. Nothing is sent before the first batch, so that an error before it can
// still be answered as one.
type logWriter interface {
	write(batch logBatch) error
	began() bool
	// fail ends a log that had begun.
	fail(st *status.Status)
}

func newLogWriter(w http.ResponseWriter, r *http.Request) logWriter {
	switch accept := r.Header.Get("Accept"); {
	case strings.Contains(accept, "text/event-stream"):
		return &eventLog{w: w}
	case strings.Contains(accept, "application/x-ndjson"):
		return &lineLog{w: w, contentType: "application/x-ndjson", json: true}
	default:
		return &lineLog{w: w, contentType: "text/plain; charset=utf-8"}
	}
}

// lineLog writes one line for each entry: its text, or itself as JSON.
type lineLog struct {
	w           http.ResponseWriter
	contentType string
	json        bool
	headersSent bool
	buf         bytes.Buffer
}

func (l *lineLog) began() bool { return l.headersSent }

func (l *lineLog) write(batch logBatch) error {
	if !l.headersSent {
		streamHeaders(l.w, l.contentType)
		l.headersSent = true
	}
	l.buf.Reset()
	for i := range batch.entries {
		if l.json {
			if err := l.addJSON(logEntryToProto(&batch.entries[i])); err != nil {
				return err
			}
			continue
		}
		if batch.entries[i].Note {
			l.buf.WriteString(notePrefix)
		}
		l.buf.WriteString(batch.entries[i].Text)
		l.buf.WriteByte('\n')
	}
	return sendNow(l.w, l.buf.Bytes())
}

func (l *lineLog) addJSON(m proto.Message) error {
	line, err := encodeJSON(m)
	if err != nil {
		return err
	}
	l.buf.Write(line)
	l.buf.WriteByte('\n')
	return nil
}

// fail tells the reader that the log is not whole: JSON has a line for it,
// plain text only a connection that breaks off.
func (l *lineLog) fail(st *status.Status) {
	if !l.json {
		panic(http.ErrAbortHandler)
	}
	l.buf.Reset()
	if err := l.addJSON(st.Proto()); err == nil {
		_ = sendNow(l.w, append([]byte(`{"error":`), append(bytes.TrimSuffix(l.buf.Bytes(), []byte("\n")), "}\n"...)...))
	}
}

// eventLog writes an event named log for each entry, and one named end when
// the job has ended, upon which a reader should close.
type eventLog struct {
	w   http.ResponseWriter
	out *sse
}

func (l *eventLog) began() bool { return l.out != nil }

func (l *eventLog) write(batch logBatch) error {
	if l.out == nil {
		l.out = newSSE(l.w)
	}
	for i := range batch.entries {
		id := ""
		if i == len(batch.entries)-1 {
			id = batch.position
		}
		if err := l.out.message(id, "log", logEntryToProto(&batch.entries[i])); err != nil {
			return err
		}
	}
	if batch.state != 0 {
		l.out.event("", "end", []byte(`{"state":"`+jobStateToProto(batch.state).String()+`"}`))
	}
	if batch.ended {
		l.out.event("", "end", []byte("{}"))
	}
	return l.out.flush()
}

func (l *eventLog) fail(st *status.Status) {
	if err := l.out.message("", "failed", st.Proto()); err == nil {
		_ = l.out.flush()
	}
}
