package usage

import (
	"math"
	"math/bits"
	"time"
)

const (
	// bucketCount buckets, two for each doubling from 1 ms on, reach to half an
	// hour; the last has no end.
	bucketCount = 44
	firstBucket = time.Millisecond
)

// Latency counts durations by their size.
type Latency struct {
	Sum     time.Duration
	Buckets [bucketCount]int64
}

// Note counts a duration; one below 0 is taken for 0.
func (l *Latency) Note(d time.Duration) {
	d = max(d, 0)
	l.Sum += d
	l.Buckets[bucketOf(d)]++
}

// bucketOf finds the bucket with the smallest bound that d does not exceed.
func bucketOf(d time.Duration) int {
	if d <= firstBucket {
		return 0
	}
	// ceil(d) in milliseconds lies in (2^(n-1), 2^n]: two buckets, split in half.
	ms := uint64((d + firstBucket - 1) / firstBucket)
	n := bits.Len64(ms - 1)
	i := 2 * n
	if d <= boundOf(i-1) {
		i--
	}
	return min(i, bucketCount-1)
}

// boundOf is the longest duration in a bucket: 1 ms, 1.5, 2, 3, 4, 6, 8 ...
func boundOf(i int) time.Duration {
	if i%2 == 0 {
		return firstBucket << (i / 2)
	}
	return firstBucket << (i / 2) * 3 / 2
}

// Count is how many durations were counted.
func (l *Latency) Count() int64 {
	var n int64
	for _, b := range &l.Buckets {
		n += b
	}
	return n
}

// Mean is 0 when there are none.
func (l *Latency) Mean() time.Duration {
	n := l.Count()
	if n == 0 {
		return 0
	}
	return l.Sum / time.Duration(n)
}

// Quantile is about what a part q of the durations, from 0 to 1, do not exceed:
// by straight lines within a bucket, of which two make a doubling.
func (l *Latency) Quantile(q float64) time.Duration {
	n := l.Count()
	if n == 0 {
		return 0
	}
	rank := max(int64(math.Ceil(q*float64(n))), 1)
	var before int64
	for i, count := range &l.Buckets {
		if before+count < rank {
			before += count
			continue
		}
		low := time.Duration(0)
		if i > 0 {
			low = boundOf(i - 1)
		}
		part := float64(rank-before) / float64(count)
		return low + time.Duration(part*float64(boundOf(i)-low))
	}
	return boundOf(bucketCount - 1)
}

func (l *Latency) add(o *Latency) {
	l.Sum += o.Sum
	for i, n := range &o.Buckets {
		l.Buckets[i] += n
	}
}
