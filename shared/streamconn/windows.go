package streamconn

// Windows of HTTP/2 under the streams, which both programs set and which do not grow.
// gRPC's own grow with the link, up to 16 MiB for each stream, and that is what a
// client who does not read would have both programs keep for it.
const (
	// StreamWindow is what a stream may carry that nobody has read. One stream is
	// that fast at most in a round trip: 3.2 MB/s at 20 ms, 130 MB/s at 0.5 ms. A
	// message larger than the window widens it while it is waited for, so parts of
	// files, which are 256 KiB, go at 12.8 MB/s or more at 20 ms.
	StreamWindow = 64 << 10
	// ConnWindow holds a thousand streams' windows. What arrives is given back to it
	// at once, read or not, so that no stream stalls another.
	ConnWindow = 1000 * StreamWindow
)
