package logfile

import (
	"container/list"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

const (
	// maxCachedChunks bounds the decompressed chunks that are kept for the next
	// reader, in bytes.
	maxCachedChunks = 16 << 20
	// maxCachedPages bounds the entries that are kept for the next reader, in
	// bytes of text and overhead.
	maxCachedPages = 4 << 20
)

// chunkKey names a chunk.
type chunkKey struct {
	ref  job.Ref
	span span
}

// pageKey names what one Read of a log that ends at an offset answers.
type pageKey struct {
	ref       job.Ref
	from, end int64
	limit     int
}

// page is what one Read answers of one attempt.
type page struct {
	entries []job.LogEntry
	next    int64
}

// cache keeps what was made last, up to a size, and has what many ask for at
// the same time made once.
type cache[K comparable, V any] struct {
	limit int
	size  func(V) int

	mu    sync.Mutex // guards what follows
	items map[K]*list.Element
	order list.List // of *cached[K, V], the last used first
	bytes int
}

type cached[K comparable, V any] struct {
	key   K
	once  sync.Once
	value V
	err   error
	bytes int // counted; 0 until it is made
}

func newCache[K comparable, V any](limit int, size func(V) int) *cache[K, V] {
	return &cache[K, V]{limit: limit, size: size, items: map[K]*list.Element{}}
}

// get answers what is kept under a key or what load makes. Errors and what is
// too large are not kept.
func (c *cache[K, V]) get(key K, load func() (V, error)) (V, error) {
	c.mu.Lock()
	e, found := c.items[key]
	if found {
		c.order.MoveToFront(e)
	} else {
		e = c.order.PushFront(&cached[K, V]{key: key})
		c.items[key] = e
	}
	item := c.element(e)
	c.mu.Unlock()
	item.once.Do(func() {
		item.value, item.err = load()
		c.made(e, item)
	})
	return item.value, item.err
}

func (*cache[K, V]) element(e *list.Element) *cached[K, V] {
	item, _ := e.Value.(*cached[K, V]) // nothing else is put in
	return item
}

func (c *cache[K, V]) made(e *list.Element, item *cached[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[item.key] != e {
		return // forgotten meanwhile
	}
	bytes := 1
	if item.err == nil {
		bytes += c.size(item.value)
	}
	if item.err != nil || bytes > c.limit/2 {
		c.dropLocked(e)
		return
	}
	item.bytes = bytes
	c.bytes += bytes
	for last := c.order.Back(); c.bytes > c.limit && last != nil; {
		before := last.Prev()
		if c.element(last).bytes > 0 { // what is being made stays
			c.dropLocked(last)
		}
		last = before
	}
}

func (c *cache[K, V]) dropLocked(e *list.Element) {
	item := c.element(e)
	c.order.Remove(e)
	delete(c.items, item.key)
	c.bytes -= item.bytes
}

// forget drops what is kept under the keys for which f answers true.
func (c *cache[K, V]) forget(f func(K) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.items {
		if f(key) {
			c.dropLocked(e)
		}
	}
}

func pageSize(p page) int {
	const overhead = 80 // of an entry, about
	size := 0
	for i := range p.entries {
		size += overhead + len(p.entries[i].Text)
	}
	return size
}
