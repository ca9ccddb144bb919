package jobnet

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// HolderCommand is what the agent's program is called with to run HolderMain.
const HolderCommand = "network-holder"

// The words of a holder and the agent.
const (
	askLend   = "lend"
	askLook   = "look"
	saysReady = "ready"
	saysLent  = "lent"
	saysClean = "clean"
	saysUsed  = "used"
)

const (
	// settle is how long, at most, the kernel is given to take down what a job leaves.
	settle     = 30 * time.Millisecond
	settleStep = 5 * time.Millisecond
)

// HolderMain is the program of a holder. It ends with in, when the network is not lent, and
// with ctx.
func HolderMain(ctx context.Context, in io.Reader, out io.Writer) error {
	return (&holder{root: "/", in: in, out: out}).serve(ctx)
}

type holder struct {
	root string // what the paths below are in; tests have another
	in   io.Reader
	out  io.Writer
	lent bool
	// fresh is what the network was before any job, and sent what it had sent before this one.
	fresh state
	sent  sent
}

func (h *holder) serve(ctx context.Context) error {
	var err error
	if h.fresh, err = look(h.root); err != nil {
		return err
	}
	if h.sent, err = count(h.root); err != nil {
		return err
	}
	if err := h.say(saysReady); err != nil {
		return err
	}
	questions := make(chan string)
	go func() {
		defer close(questions)
		for lines := bufio.NewScanner(h.in); lines.Scan(); {
			select {
			case questions <- lines.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case question, ok := <-questions:
			switch {
			case !ok && h.lent:
				<-ctx.Done() // the agent is gone, the job is not
				return nil
			case !ok:
				return nil
			}
			if err := h.answer(question); err != nil && !h.lent {
				return err
			}
		}
	}
}

func (h *holder) answer(question string) error {
	switch question {
	case askLend:
		h.lent = true
		return h.say(saysLent)
	case askLook:
		if err := h.unchanged(); err != nil {
			return h.say(saysUsed + ": " + err.Error())
		}
		h.lent = false
		return h.say(saysClean)
	}
	return fmt.Errorf("it was asked %q", question)
}

func (h *holder) say(word string) error {
	_, err := io.WriteString(h.out, word+"\n")
	return err
}

// state is all that a job can change of a network and that would outlive it. Interfaces,
// addresses, routes, rules and settings take privileges that jobs do not have.
type state struct {
	// sockets counts all that are there, also those that are bound to nothing.
	sockets string
	// connections counts those of TCP, also the ones without a socket that only wait for
	// stragglers: their ports are not free.
	connections int
	// files are those that the engine shares between the containers of a network.
	files [len(sharedFiles)]file
}

type file struct {
	mode os.FileMode
	sum  [sha256.Size]byte
}

var sharedFiles = [...]string{"etc/hosts", "etc/hostname", "etc/resolv.conf"}

// maxRead is how much of a file counts; a longer one is refused.
const maxRead = 1 << 20

func look(root string) (state, error) {
	var s state
	data, err := read(root + "proc/net/sockstat")
	if err != nil {
		return s, err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	if !strings.HasPrefix(first, "sockets: used ") {
		return s, fmt.Errorf("proc/net/sockstat begins with %q", first)
	}
	s.sockets = first
	for _, name := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		data, err := read(root + name)
		if errors.Is(err, os.ErrNotExist) && name == "proc/net/tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return s, err
		}
		s.connections += strings.Count(string(data), "\n")
	}
	for i, name := range sharedFiles {
		info, err := os.Lstat(root + name)
		if errors.Is(err, os.ErrNotExist) {
			continue // an engine that has none
		}
		if err != nil {
			return s, err
		}
		data, err := read(root + name)
		if err != nil {
			return s, err
		}
		s.files[i] = file{mode: info.Mode(), sum: sha256.Sum256(data)}
	}
	return s, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err == nil && len(data) > maxRead {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxRead)
	}
	return data, err
}

// unchanged says what is not as it was.
func (h *holder) unchanged() error {
	for waited := time.Duration(0); ; waited += settleStep {
		now, err := look(h.root)
		switch {
		case err != nil:
			return err
		case now == h.fresh:
			return h.unheard() // which is certain only now that there is nobody to send anything
		case now.files != h.fresh.files:
			return errors.New("a file of the network was changed")
		case waited >= settle:
			return fmt.Errorf("%s and %d connections, not %s and %d", now.sockets, now.connections, h.fresh.sockets, h.fresh.connections)
		}
		time.Sleep(settleStep)
	}
}

// unheard says whether nobody outside has heard of the network since it was last lent.
func (h *holder) unheard() error {
	now, err := count(h.root)
	if err != nil {
		return err
	}
	if now.outside(h.sent) {
		return fmt.Errorf("%d packets were sent from it", now.left-h.sent.left)
	}
	h.sent = now
	return nil
}
