package routing

import "hash/maphash"

// Prefix stands for the beginning of a request, at growing lengths: two
// requests that begin alike have their first marks in common. A conversation's
// next question begins as its last one did, and an engine has what it read of
// that in its cache.
type Prefix struct {
	marks [maxMarks]uint64
	count int
	bytes int // of the whole text
}

const (
	// firstMark is the length at which the first mark stands; each next one
	// stands a quarter later. Positions do not depend on the text's length, so
	// that a longer one has the same marks first.
	firstMark = 64
	// maxMarks bounds what is looked at to about 300 kB.
	maxMarks = 39
)

// markAfter is where the mark after the one at a position stands.
func markAfter(position int) int { return position + position/4 }

// prefixes remembers which replicas have read which beginnings, the newest.
type prefixes struct {
	seed maphash.Seed
	// recent and old are what was read, by mark. When recent is full it becomes
	// old: what nobody asked for meanwhile is forgotten.
	recent, old map[uint64]readers
}

// maxPrefixes is how many marks of one model are remembered, twice: below 1 MiB.
const maxPrefixes = 4096

// readers are the replicas that read something, the last one first.
type readers [3]*replica

func newPrefixes() *prefixes {
	return &prefixes{seed: maphash.MakeSeed(), recent: make(map[uint64]readers)}
}

// of makes the prefix of a text.
func (p *prefixes) of(text []byte) Prefix {
	out := Prefix{bytes: len(text)}
	var sum uint64
	from := 0
	for to := firstMark; to <= len(text) && out.count < maxMarks; to = markAfter(to) {
		sum = sum*0x9e3779b97f4a7c15 + maphash.Bytes(p.seed, text[from:to])
		out.marks[out.count] = sum
		out.count++
		from = to
	}
	return out
}

// cached gives share what share of a request a replica has read before. The
// longest beginning that anybody has read counts, and shorter ones for those
// who have read only them; longer ones come first.
func (p *prefixes) cached(of *Prefix, share func(r *replica, cached float64)) {
	if of.count == 0 {
		return
	}
	length := firstMark
	var lengths [maxMarks]int
	for i := range of.count {
		lengths[i] = length
		length = markAfter(length)
	}
	found := 0
	for i := of.count - 1; i >= 0 && found < maxFound; i-- {
		who, ok := p.get(of.marks[i])
		if !ok {
			continue
		}
		found++
		for _, r := range who {
			if r != nil {
				share(r, float64(lengths[i])/float64(of.bytes+shortPrefix))
			}
		}
	}
}

// maxFound is how many marks that were read before are looked at: replicas that
// have read much less than the best do not count.
const maxFound = 8

func (p *prefixes) get(mark uint64) (readers, bool) {
	if who, ok := p.recent[mark]; ok {
		return who, true
	}
	who, ok := p.old[mark]
	return who, ok
}

// read notes that a replica has read a request.
func (p *prefixes) read(of *Prefix, by *replica) {
	for _, mark := range of.marks[:of.count] {
		who, _ := p.get(mark)
		switch by {
		case who[0]:
			if _, ok := p.recent[mark]; ok {
				continue
			}
		case who[1]:
			who[0], who[1] = by, who[0]
		default:
			who[0], who[1], who[2] = by, who[0], who[1]
		}
		if len(p.recent) >= maxPrefixes {
			p.recent, p.old = make(map[uint64]readers, maxPrefixes/2), p.recent
		}
		p.recent[mark] = who
	}
}
