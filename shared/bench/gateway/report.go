package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// report prints one load's figures, each way beside the direct one and beside
// nginx. Of a way that failed it says why.
func report(out io.Writer, l *load, ways []*way, results []samples, failures []error) {
	fmt.Fprintf(out, "\n%s: %s, %d clients\n", l.name, l.what, l.clients)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "way\trequests/s\tof nginx\tadded p50\tadded p99\tCPU/request\tallocations\t"
	if l.isStream() {
		head += "first token p50\tp99\tgap p50\tp99\ttoken delay p50\tp99\ttokens/read\t"
	}
	fmt.Fprintln(table, head)
	direct, nginx := &results[0], 0.0
	for i := range results {
		results[i].sort()
		if ways[i].name == "nginx" {
			nginx = results[i].perSecond()
		}
	}
	for i, w := range ways {
		if failures[i] != nil {
			continue
		}
		r := &results[i]
		requests := float64(len(r.total))
		fmt.Fprintf(table, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t", w.name, r.perSecond(), ratio(r.perSecond(), nginx),
			micros(quantile(r.total, .5)-quantile(direct.total, .5)), micros(quantile(r.total, .99)-quantile(direct.total, .99)),
			micros(time.Duration(float64(r.used.cpu)/requests)), count(r.used.allocations/requests))
		if l.isStream() {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t",
				micros(quantile(r.firstToken, .5)), micros(quantile(r.firstToken, .99)), micros(quantile(r.gap, .5)), micros(quantile(r.gap, .99)),
				micros(quantile(r.delay, .5)), micros(quantile(r.delay, .99)), float64(len(r.delay))/float64(r.pieces))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush() // to a terminal or a file of the user's
	for i, err := range failures {
		if err != nil {
			fmt.Fprintf(out, "%s failed: %v\n", ways[i].name, err)
		}
	}
}

func reportMemory(out io.Writer, ways []*way, growth []int64) {
	fmt.Fprintf(out, "\nmemory: with %d streams open more than without\n", openStreams)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "way\tMiB\tkB each\t")
	for i, w := range ways {
		if len(w.pids) > 0 {
			fmt.Fprintf(table, "%s\t%.1f\t%.1f\t\n", w.name, float64(growth[i])/(1<<20), float64(growth[i])/1e3/openStreams)
		}
	}
	_ = table.Flush() // to a terminal or a file of the user's
}

func reportDisturbed(out io.Writer, stalled bool, ways []*way, results []disturbed) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if stalled {
		fmt.Fprintf(out, "\nstalled: %d paced streams, beside %d clients that ask for %d MiB and read nothing\n", besideStreams, stalledReaders, bulkSize>>20)
		fmt.Fprint(table, "way\tgrowth MiB\t")
	} else {
		fmt.Fprintf(out, "\nbulk: %d paced streams, beside one client that loads answers of %d MiB\n", besideStreams, bulkSize>>20)
		fmt.Fprint(table, "way\tMB/s\t")
	}
	fmt.Fprintln(table, "delay p50 quiet\tp99\tbeside p50\tp99\tp99 of quiet\tgap p99 quiet\tbeside\tof quiet\t")
	for i, w := range ways {
		r := &results[i]
		r.quiet.sort()
		r.beside.sort()
		figure := r.megabytes
		if stalled {
			figure = float64(r.growth) / (1 << 20)
		}
		delay, delayBeside := quantile(r.quiet.delay, .99), quantile(r.beside.delay, .99)
		gap, gapBeside := quantile(r.quiet.gap, .99), quantile(r.beside.gap, .99)
		fmt.Fprintf(table, "%s\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", w.name, figure, micros(quantile(r.quiet.delay, .5)), micros(delay),
			micros(quantile(r.beside.delay, .5)), micros(delayBeside), ratio(float64(delayBeside), float64(delay)),
			micros(gap), micros(gapBeside), ratio(float64(gapBeside), float64(gap)))
	}
	_ = table.Flush() // to a terminal or a file of the user's
}

func ratio(a, b float64) string {
	if b <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func count(n float64) string {
	if n <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", n)
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%d µs", d.Microseconds())
}
