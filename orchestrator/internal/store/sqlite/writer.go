package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/shared/plantedbug"
)

const (
	// maxBatch bounds one transaction: an operation waits for at most so many
	// others.
	maxBatch = 512
	// queueLength is how many operations may wait before callers block.
	queueLength = 1024
)

// atomicity says what undoes an operation that fails halfway.
type atomicity bool

const (
	// oneStatement: the operation makes one statement that writes, and its last;
	// SQLite undoes a statement that fails.
	oneStatement atomicity = false
	// severalStatements: a savepoint does.
	severalStatements atomicity = true
)

// Who decides what becomes of an operation that waits: whoever moves it away
// from waiting first.
const (
	waiting int32 = iota
	taken
	abandoned
)

// operation is one change on its way through the writer.
type operation struct {
	run    func(*tx) error
	atomic atomicity
	status atomic.Int32
	done   chan error // buffered; gets one answer when the operation was taken
}

// Stats counts the work of a writer.
type Stats struct {
	// Operations is how many changes were answered.
	Operations int64
	// Commits is how many transactions they were put into.
	Commits int64
}

// writer runs changes in the order in which they come, as many at a time as
// wait.
type writer struct {
	tx    *tx
	queue chan *operation
	ended chan struct{} // closed when the goroutine is over

	operations, commits atomic.Int64

	// sending guards stopped, and that nothing is sent once it is set.
	sending sync.RWMutex
	stopped bool
}

// startWriter makes the connection the writer's own.
func startWriter(conn *sql.Conn) *writer {
	w := &writer{
		tx:    newTx(conn),
		queue: make(chan *operation, queueLength),
		ended: make(chan struct{}),
	}
	go w.loop()
	return w
}

// do runs one operation and waits until it is durable. A context that is done
// before the operation was begun takes it back; after that its result counts.
func (w *writer) do(ctx context.Context, atomic atomicity, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return store.Abandoned(err)
	}
	op := &operation{run: run, atomic: atomic, done: make(chan error, 1)}
	if err := w.send(ctx, op); err != nil {
		return err
	}
	select {
	case err := <-op.done:
		return err
	case <-ctx.Done():
		if op.status.CompareAndSwap(waiting, abandoned) {
			return store.Abandoned(ctx.Err())
		}
		return <-op.done
	}
}

// send queues an operation.
func (w *writer) send(ctx context.Context, op *operation) error {
	w.sending.RLock()
	defer w.sending.RUnlock()
	if w.stopped {
		return store.Closed()
	}
	select {
	case w.queue <- op:
		return nil
	case <-ctx.Done():
		return store.Abandoned(ctx.Err())
	}
}

// stop runs what waits and ends the goroutine.
func (w *writer) stop() error {
	w.sending.Lock()
	if !w.stopped {
		w.stopped = true
		close(w.queue)
	}
	w.sending.Unlock()
	<-w.ended
	return w.tx.close()
}

func (w *writer) stats() Stats {
	return Stats{Operations: w.operations.Load(), Commits: w.commits.Load()}
}

func (w *writer) loop() {
	defer close(w.ended)
	batch := make([]*operation, 0, maxBatch)
	for op := range w.queue {
		batch = w.gather(append(batch[:0], op))
		w.commit(batch)
		clear(batch) // what was answered need not stay in memory
	}
}

// gather adds what waits by now. Callers that were answered a moment ago and
// have their next operation ready get a chance to join: without it a busy store
// would commit for the quickest few and let the others wait for another turn of
// the disk.
func (w *writer) gather(batch []*operation) []*operation {
	for yielded := false; len(batch) < maxBatch; {
		select {
		case op, ok := <-w.queue:
			if !ok {
				return batch
			}
			batch = append(batch, op)
			yielded = false
		default:
			if yielded {
				return batch
			}
			runtime.Gosched()
			yielded = true
		}
	}
	return batch
}

// commit runs a batch in one transaction and answers its operations. Either
// everything that went well is durable, or nothing is and everyone hears why.
func (w *writer) commit(batch []*operation) {
	results := make([]error, len(batch))
	mine := make([]bool, len(batch))
	err := w.tx.exec("BEGIN IMMEDIATE")
	for i, op := range batch {
		mine[i] = op.status.CompareAndSwap(waiting, taken)
		if err != nil || !mine[i] {
			continue
		}
		results[i] = w.tx.run(op)
		if spoils(results[i]) {
			err = results[i]
		}
	}
	if plantedbug.On(plantedbug.EarlyAcknowledgement) {
		w.answer(batch, mine, results)
		<-time.After(200 * time.Millisecond)
	}
	if err == nil {
		err = w.tx.exec("COMMIT")
	}
	if err != nil {
		w.tx.rollback()
		err = readable(err)
	}
	for i := range results {
		if err != nil {
			results[i] = err
		}
	}
	if !plantedbug.On(plantedbug.EarlyAcknowledgement) {
		w.answer(batch, mine, results)
	}
	w.commits.Add(1)
}

// answer tells those who wait for their operations how these went.
func (w *writer) answer(batch []*operation, mine []bool, results []error) {
	for i, op := range batch {
		if mine[i] {
			w.operations.Add(1)
			op.done <- results[i]
		}
	}
}

// tx is the writer's connection while a transaction is open, for operations to
// work on. Only the writer's goroutine uses it.
type tx struct {
	conn *sql.Conn
	// statements holds each statement that was ever run, prepared: the texts
	// are constants, so it does not grow without end.
	statements map[string]*sql.Stmt
	live       liveJobs
}

func newTx(conn *sql.Conn) *tx {
	return &tx{conn: conn, statements: map[string]*sql.Stmt{}, live: liveJobs{}}
}

// run runs one operation, undoing what it did when it fails.
func (t *tx) run(op *operation) error {
	if op.atomic == oneStatement {
		return op.run(t)
	}
	if err := t.exec("SAVEPOINT operation"); err != nil {
		return err
	}
	if err := op.run(t); err != nil {
		if spoils(err) {
			return err
		}
		return errors.Join(err, t.exec("ROLLBACK TO operation"), t.exec("RELEASE operation"))
	}
	return t.exec("RELEASE operation")
}

// rollback undoes the transaction, if SQLite has not done so already.
func (t *tx) rollback() {
	// Its error says that no transaction is open: nothing is left to undo.
	_ = t.exec("ROLLBACK")
	clear(t.live)
}

// prepare finds a statement's prepared form.
func (t *tx) prepare(text string) (*sql.Stmt, error) {
	if s, ok := t.statements[text]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, fmt.Errorf("preparing a statement: %w", err)
	}
	t.statements[text] = s
	return s, nil
}

// exec runs a statement. No context: a change that was begun is carried through.
func (t *tx) exec(text string, args ...any) error {
	_, err := t.execCounting(text, args...)
	return err
}

// execCounting answers how many rows were changed.
func (t *tx) execCounting(text string, args ...any) (sql.Result, error) {
	s, err := t.prepare(text) //nolint:sqlclosecheck // kept in t.statements until t.close
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), args...)
}

// row runs a query for one row.
func (t *tx) row(text string, args ...any) (*sql.Row, error) {
	s, err := t.prepare(text) //nolint:sqlclosecheck // kept in t.statements until t.close
	if err != nil {
		return nil, err
	}
	return s.QueryRowContext(context.Background(), args...), nil
}

// close gives the connection back.
func (t *tx) close() error {
	var errs []error
	for _, s := range t.statements {
		errs = append(errs, s.Close())
	}
	clear(t.statements)
	if t.conn != nil {
		errs = append(errs, t.conn.Close())
		t.conn = nil
	}
	return errors.Join(errs...)
}
