//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// engineCommand makes this program an engine.
const engineCommand = "engine"

// modelName is what the engines serve.
const modelName = "faults"

// phase is how far an answer is when it is disturbed.
type phase string

// The phases.
const (
	asked    phase = "asked"     // the engine has the question, and has not begun to answer
	head     phase = "head"      // the status and the headers are out
	halfWord phase = "half-word" // half of the first event, or of the answer, is out
	middle   phase = "middle"    // some events are out
	unsaid   phase = "unsaid"    // all tokens are out, and not the event that says so
	said     phase = "said"      // that, too; only the answer's end is missing
	never    phase = "-"         // it is not disturbed
)

// streamTokens is how many tokens a streamed answer has.
const streamTokens = 20

// question is what the engine is to do; it travels in the field user.
type question struct {
	id    string
	phase phase
	size  int // of an answer that is not streamed, in bytes
}

func (q question) String() string { return fmt.Sprintf("%s %s %d", q.id, q.phase, q.size) }

func parseQuestion(text string) (question, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return question{}, fmt.Errorf("%q is no question", text)
	}
	size, err := strconv.Atoi(fields[2])
	return question{id: fields[0], phase: phase(fields[1]), size: size}, err
}

// tokenOf is a token that belongs to one question alone.
func tokenOf(id string, n int) string { return fmt.Sprintf("%s.%d ", id, n) }

// plainOf is an answer of that size at least.
func plainOf(id string, size int) string {
	return strings.Repeat(id+" ", size/(len(id)+1)+1)
}

// fakeEngine is an engine whose answers wait, in the phase that a question names, until the
// checker lets them go on.
type fakeEngine struct {
	name    string
	control string // where the checker listens
}

func runEngine(ctx context.Context, address, control, name string) error {
	e := &fakeEngine{name: name, control: control}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"object":"model","owned_by":"streamfaults"}]}`, modelName)
	})
	mux.HandleFunc("POST /v1/chat/completions", e.chat)
	server := &http.Server{Addr: address, Handler: mux}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (e *fakeEngine) chat(w http.ResponseWriter, r *http.Request) {
	var request struct {
		User   string `json:"user"`
		Stream bool   `json:"stream"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q, err := parseQuestion(request.User)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := &answer{engine: e, w: w, r: r, q: q}
	if request.Stream {
		a.stream()
	} else {
		a.plain()
	}
}

// answer is one being given.
type answer struct {
	engine *fakeEngine
	w      http.ResponseWriter
	r      *http.Request
	q      question
}

func (a *answer) stream() {
	a.at(asked)
	a.w.Header().Set("Content-Type", "text/event-stream")
	a.flush()
	a.at(head)
	for n := range streamTokens {
		event := fmt.Sprintf(`data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%q}}]}`+"\n\n", tokenOf(a.q.id, n))
		switch n {
		case 0:
			a.say(event[:len(event)/2])
			a.at(halfWord)
			a.say(event[len(event)/2:])
			continue
		case streamTokens / 2:
			a.at(middle)
		}
		a.say(event)
	}
	a.at(unsaid)
	a.say("data: [DONE]\n\n")
	a.at(said)
}

func (a *answer) plain() {
	a.at(asked)
	text := fmt.Sprintf(`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q}}]}`, plainOf(a.q.id, a.q.size))
	a.w.Header().Set("Content-Type", "application/json")
	a.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	a.flush()
	a.at(head)
	a.say(text[:len(text)/2])
	a.at(halfWord)
	a.say(text[len(text)/2:])
}

func (a *answer) say(text string) {
	_, _ = io.WriteString(a.w, text) // whoever asked may have left
	a.flush()
}

func (a *answer) flush() { _ = http.NewResponseController(a.w).Flush() } // likewise

// at waits, if it is the phase in which the answer is disturbed, until the checker lets it
// go on or whoever asked has left, which it tells.
func (a *answer) at(p phase) {
	if p != a.q.phase {
		return
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(a.r.Context(), "tcp", a.engine.control)
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s\n", a.q.id, a.engine.name)
	stop := context.AfterFunc(a.r.Context(), func() {
		fmt.Fprintln(conn, "left")
		conn.Close()
	})
	defer stop()
	_, _ = conn.Read(make([]byte, 1)) // the end of the connection lets it go on, too
}

// control is where engines tell the checker that they have got so far.
type control struct {
	listener net.Listener
	reached  chan reached
}

// reached says that an answer waits.
type reached struct {
	id, machine string
	conn        net.Conn
	in          *bufio.Reader
}

func newControl(ctx context.Context) (*control, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &control{listener: listener, reached: make(chan reached)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go c.greet(ctx, conn)
		}
	}()
	return c, nil
}

func (c *control) greet(ctx context.Context, conn net.Conn) {
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 2 {
		conn.Close()
		return
	}
	select {
	case c.reached <- reached{id: fields[0], machine: fields[1], conn: conn, in: in}:
	case <-ctx.Done():
		conn.Close()
	}
}

// release lets the answer go on.
func (r reached) release() { _ = r.conn.Close() }

// left waits until the engine has seen that whoever asked has left.
func (r reached) left(limit time.Duration) error {
	_ = r.conn.SetReadDeadline(time.Now().Add(limit))
	if line, err := r.in.ReadString('\n'); err != nil || line != "left\n" {
		return fmt.Errorf("the engine was not told within %v that the client had left: %q, %w", limit, line, err)
	}
	return nil
}
