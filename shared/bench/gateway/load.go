package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// load is one kind of load.
type load struct {
	name    string
	clients int
	stream  bool
}

// samples are what was measured of one way under one load.
type samples struct {
	total     []time.Duration // of each request, to the end of its answer
	firstByte []time.Duration // of each request, to the first byte of its answer's body
	elapsed   time.Duration
}

func (s *samples) add(o samples) {
	s.total = append(s.total, o.total...)
	s.firstByte = append(s.firstByte, o.firstByte...)
	s.elapsed += o.elapsed
}

func (s *samples) perSecond() float64 { return float64(len(s.total)) / s.elapsed.Seconds() }

// quantile gives the value below which the share q of the durations lies.
func quantile(durations []time.Duration, q float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// measure puts load on a way for about the time given.
func measure(ctx context.Context, w way, l load, slice time.Duration) (samples, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: l.clients, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	question := plainQuestion
	if l.stream {
		question = streamQuestion
	}

	var mu sync.Mutex // guards sum and failed
	var sum samples
	var failed error
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(slice)
	for range l.clients {
		wg.Go(func() {
			var mine samples
			var err error
			for err == nil && time.Now().Before(end) {
				err = ask(ctx, client, w.url, question, l.stream, &mine)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(mine)
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	sum.elapsed = time.Since(start)
	return sum, failed
}

// ask makes one request and checks its answer.
func ask(ctx context.Context, client *http.Client, url string, question []byte, stream bool, into *samples) error {
	begun := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(question))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close()
	var first [1]byte
	if _, err := io.ReadFull(res.Body, first[:]); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	firstByte := time.Since(begun)
	rest, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	total := time.Since(begun)
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s: %s%s", res.Status, first[:], rest)
	}
	if stream && !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		return errors.New("a stream ended before its end")
	}
	if !stream && len(rest) != len(plainAnswer)-1 {
		return fmt.Errorf("an answer has %d bytes, not %d", len(rest)+1, len(plainAnswer))
	}
	into.total = append(into.total, total)
	into.firstByte = append(into.firstByte, firstByte)
	return nil
}

// report prints one load's figures, each way beside the direct one.
func report(out io.Writer, l load, ways []way, results []samples) {
	fmt.Fprintf(out, "\n%s\n", l.name)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "way\trequests/s\tof direct\tp50\tp99\tadded p50\tadded p99\tfirst byte p50\tfirst byte p99\t")
	direct := &results[0]
	for i, w := range ways {
		r := &results[i]
		p50, p99 := quantile(r.total, 0.5), quantile(r.total, 0.99)
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", w.name, r.perSecond(), r.perSecond()/direct.perSecond(),
			millis(p50), millis(p99), millis(p50-quantile(direct.total, 0.5)), millis(p99-quantile(direct.total, 0.99)),
			millis(quantile(r.firstByte, 0.5)), millis(quantile(r.firstByte, 0.99)))
	}
	_ = table.Flush() // to a terminal or a file of the user's
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
