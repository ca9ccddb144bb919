package logfile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// program is what a program may print: 100 bytes to a line, some of them the same in each.
func program(lines int64) (entries []job.LogEntry, bytes int64) {
	for n := range lines {
		text := fmt.Sprintf("2030-03-17T17:46:%02d.%06d level=info msg=\"handled request\" id=%08x status=200 took=%dµs user=%d", n%60, n*7919%1_000_000, uint32(n*2654435761), n*31%9000, n*17%5000)
		entries = append(entries, job.LogEntry{Attempt: 1, Stream: job.Stdout, Line: n + 1, Text: text, Time: time.Unix(1_900_000_000, n*1000)})
		bytes += int64(len(text)) + 1
	}
	return entries, bytes
}

// BenchmarkAppend is the way of a log into the store, in batches as nodes send them.
func BenchmarkAppend(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w, err := s.Open(b.Context(), ref)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	entries, bytes := program(2600)
	b.SetBytes(bytes)
	for b.Loop() {
		if err := w.Append(entries); err != nil {
			b.Fatal(err)
		}
		for i := range entries {
			entries[i].Line += int64(len(entries))
		}
	}
}

// BenchmarkRead is the way out, a thousand entries at a time.
func BenchmarkRead(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w, err := s.Open(b.Context(), ref)
	if err != nil {
		b.Fatal(err)
	}
	entries, bytes := program(100_000)
	for part := entries; len(part) > 0; part = part[1000:] {
		if err := w.Append(part[:1000]); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Complete(); err != nil {
		b.Fatal(err)
	}
	w.Close()
	b.SetBytes(bytes)
	for b.Loop() {
		position, count := "", 0
		for {
			found, next, err := s.Read(b.Context(), ref.JobID, 0, position, 1000)
			if err != nil {
				b.Fatal(err)
			}
			if len(found) == 0 {
				break
			}
			count, position = count+len(found), next
		}
		if count != len(entries) {
			b.Fatalf("%d entries", count)
		}
	}
}

// BenchmarkFollowers is what 5,000 readers who follow a log cost when it grows.
func BenchmarkFollowers(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w, err := s.Open(b.Context(), ref)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	entries, _ := program(100)
	position := ""
	for b.Loop() {
		if err := w.Append(entries); err != nil {
			b.Fatal(err)
		}
		for i := range entries {
			entries[i].Line += int64(len(entries))
		}
		var next string
		for range 5000 {
			found, behind, err := s.Read(b.Context(), ref.JobID, 0, position, 1000)
			if err != nil || len(found) != 100 {
				b.Fatal(len(found), err)
			}
			next = behind
		}
		position = next
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/5000, "µs/follower")
}

// BenchmarkCodecs is why chunks are made with zstd.
func BenchmarkCodecs(b *testing.B) {
	var c codec
	if err := c.ready(); err != nil {
		b.Fatal(err)
	}
	defer c.close()
	entries, _ := program(8000)
	var records []byte
	for _, e := range entries {
		records = entryRecord(e).append(records)
	}
	records, _ = withoutChecksums(records)
	zstd := c.encoder.EncodeAll(records, nil)
	deflate := func() []byte {
		var out bytes.Buffer
		z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := z.Write(records); err != nil {
			b.Fatal(err)
		}
		if err := z.Close(); err != nil {
			b.Fatal(err)
		}
		return out.Bytes()
	}
	gzipped := deflate()
	run := func(name string, size int, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(records)))
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(len(records))/float64(size), "times-smaller")
		})
	}
	run("zstd", len(zstd), func() { c.encoder.EncodeAll(records, zstd[:0:0]) })
	run("unzstd", len(zstd), func() {
		if _, err := c.decoder.DecodeAll(zstd, make([]byte, 0, len(records))); err != nil {
			b.Fatal(err)
		}
	})
	run("gzip", len(gzipped), func() { deflate() })
	run("gunzip", len(gzipped), func() {
		z, err := gzip.NewReader(bytes.NewReader(gzipped))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, z); err != nil {
			b.Fatal(err)
		}
	})
}
