package orchestrator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What requests of these tests are made of. Each is followed by bytes that are a request to
// whoever sees the one before them end where they begin.
const (
	question = `{"model":"m"}`
	inChunks = "d\r\n" + question + "\r\n0\r\n\r\n"
	post     = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
	post10   = "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n"
	length   = "Content-Length: 13\r\n"
	chunked  = "Transfer-Encoding: chunked\r\n"
	hidden   = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)

// There is no model "m": 404 says that a request was understood. 200 is the answer to what was hidden.
const (
	understood    = "404"
	understoodTwo = "404 200"
	refused       = "400"
)

// TestBadHTTP sends what HTTP parsers are known to read in different ways, so that what one takes for
// the body of a request is another request to the next.
func TestBadHTTP(t *testing.T) {
	o := run(t, testConfig(t.TempDir()))
	chunks := func(text string) string { return post + chunked + "\r\n" + text }
	header := func(line string) string { return post + length + line + "\r\n" + question }
	for name, c := range map[string]struct{ sent, want string }{
		"a length": {post + length + "\r\n" + question, understoodTwo},
		// Nothing that follows chunks is taken for a request.
		"chunks":                          {chunks(inChunks), understood},
		"chunks with an extension":        {chunks("d;a=\"b\"" + inChunks[1:]), understood},
		"chunks with trailers":            {chunks(strings.TrimSuffix(inChunks, "\r\n") + "Content-Length: 5\r\nHost: evil\r\n\r\n"), understood},
		"both lengths":                    {post + length + chunked + "\r\n" + inChunks, understood},
		"both lengths, the other first":   {post + chunked + "Content-Length: 5\r\n\r\n" + inChunks, understood},
		"both lengths, to every resource": {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n" + length + chunked + "\r\n" + inChunks, refused},
		"chunks in a line that goes on":   {post + "Transfer-Encoding:\r\n chunked\r\n\r\n" + inChunks, understood},
		"chunks in HTTP/1.0":              {post10 + chunked + "\r\n" + inChunks, refused},
		"both lengths in HTTP/1.0":        {post10 + chunked + length + "\r\n" + question, understood},
		"HTTP/1.0 that is to be kept":     {post10 + length + "\r\n" + question, understood},

		"two lengths":             {post + length + "Content-Length: 5\r\n\r\n" + question, refused},
		"the same length twice":   {post + length + length + "\r\n" + question, understoodTwo},
		"lengths in a list":       {post + "Content-Length: 13, 13\r\n\r\n" + question, refused},
		"a length with a sign":    {post + "Content-Length: +13\r\n\r\n" + question, refused},
		"a negative length":       {post + "Content-Length: -1\r\n\r\n", refused},
		"a hexadecimal length":    {post + "Content-Length: 0xd\r\n\r\n" + question, refused},
		"a length that overflows": {post + "Content-Length: 18446744073709551629\r\n\r\n" + question, refused},
		"an empty length":         {post + "Content-Length:\r\n\r\n" + question, refused},
		"a length that goes on":   {post + "Content-Length: 1\r\n 3\r\n\r\n" + question, refused},
		"a body that is longer":   {post + "Content-Length: 5\r\n\r\n" + question, "400 400"},

		"chunked and another":         {post + "Transfer-Encoding: chunked, identity\r\n\r\n" + inChunks, "501"},
		"another and chunked":         {post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + inChunks, "501"},
		"identity and a length":       {post + "Transfer-Encoding: identity\r\n" + length + "\r\n" + question, "501"},
		"nearly chunked":              {post + "Transfer-Encoding: xchunked\r\n\r\n" + inChunks, "501"},
		"chunked in quotes":           {post + "Transfer-Encoding: \"chunked\"\r\n\r\n" + inChunks, "501"},
		"chunked after an odd byte":   {post + "Transfer-Encoding: \x0bchunked\r\n\r\n" + inChunks, refused},
		"chunked twice":               {post + chunked + chunked + "\r\n" + inChunks, "501"},
		"chunked and a space":         {post + length + "Transfer-Encoding : chunked\r\n\r\n" + inChunks, refused},
		"chunked after a space":       {"POST /v1/chat/completions HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: localhost\r\n\r\n" + inChunks, refused},
		"chunked after a bare CR":     {post + length + "A: b\rTransfer-Encoding: chunked\r\n\r\n" + question, refused},
		"chunked with another letter": {post + length + "Transfer\x00Encoding: chunked\r\n\r\n" + question, refused},

		"a chunk's size with a sign":     {chunks("+" + inChunks), refused},
		"a negative size":                {chunks("-1\r\n" + question), refused},
		"a size with 0x":                 {chunks("0x" + inChunks), refused},
		"a size that overflows":          {chunks("1000000000000000" + inChunks), refused},
		"no size":                        {chunks("\r\n" + inChunks), refused},
		"a size after a space":           {chunks(" " + inChunks), refused},
		"a chunk's line that ends in LF": {chunks("d\n" + question + "\r\n0\r\n\r\n"), refused},
		"a CR in an extension":           {chunks("d;\r" + inChunks[1:]), refused},
		"a chunk that is longer":         {chunks("c" + inChunks[1:]), refused},
		"an endless extension":           {chunks("d;" + strings.Repeat("a", 8<<10) + inChunks[1:]), refused},

		"a name with a space":    {header("A b: c\r\n"), refused},
		"a name before a space":  {header("A : c\r\n"), refused},
		"no name":                {header(": c\r\n"), refused},
		"no colon":               {header("abc\r\n"), refused},
		"a NUL in a value":       {header("A: b\x00c\r\n"), refused},
		"a CR in a value":        {header("A: b\rc\r\n"), refused},
		"a long value":           {header("A: " + strings.Repeat("a", 80<<10) + "\r\n"), "431"},
		"a long name":            {header(strings.Repeat("a", 80<<10) + ": b\r\n"), "431"},
		"very many headers":      {header(strings.Repeat("A: b\r\n", 20<<10)), "431"},
		"a long path":            {"GET /" + strings.Repeat("a", 80<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "431"},
		"no host":                {"GET /healthz HTTP/1.1\r\n\r\n", refused},
		"two hosts":              {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", refused},
		"another host":           {"GET /healthz HTTP/1.1\r\nHost: evil\r\n\r\n", "403 200"},
		"another host in a path": {"GET http://evil/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "403 200"},
		"a host with a path":     {"GET /healthz HTTP/1.1\r\nHost: localhost/evil\r\n\r\n", refused},
		"a tunnel":               {"CONNECT evil:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", "403 200"},

		"two spaces":             {"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", refused},
		"a tab":                  {"GET\t/healthz\tHTTP/1.1\r\nHost: localhost\r\n\r\n", refused},
		"a path with a space":    {"GET /health z HTTP/1.1\r\nHost: localhost\r\n\r\n", refused},
		"a path with a NUL":      {"GET /health\x00z HTTP/1.1\r\nHost: localhost\r\n\r\n", refused},
		"a method with a colon":  {"GE:T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", refused},
		"no version":             {"GET /healthz\r\nHost: localhost\r\n\r\n", refused},
		"a version in lowercase": {"GET /healthz http/1.1\r\nHost: localhost\r\n\r\n", refused},
		"a version of its own":   {"GET /healthz HTTP/1.10\r\nHost: localhost\r\n\r\n", refused},
		"HTTP/2":                 {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "403"},
		"HTTP/2 by an upgrade": {
			header("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), understoodTwo,
		},
		"a web socket":         {header("Connection: Upgrade\r\nUpgrade: websocket\r\n"), understoodTwo},
		"a body that is asked": {header("Expect: 100-continue\r\n"), "100 404 200"},
		"another expectation":  {header("Expect: more\r\n"), "417"},
		"a body too large that is asked for": {
			post + "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n", "413",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := o.answers(t, c.sent+hidden); got != c.want {
				t.Errorf("answered %s, want %s", got, c.want)
			}
		})
	}
}

// answers sends bytes and gives the statuses of all that is answered until the orchestrator ends the connection.
func (i *instance) answers(t *testing.T, sent string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.HTTP, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		io.WriteString(conn, sent) // it need not be read to its end
	}()
	var statuses []string
	for in := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				statuses = append(statuses, "and keeps the connection")
			}
			break
		}
		statuses = append(statuses, strconv.Itoa(res.StatusCode))
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			statuses = append(statuses, fmt.Sprintf("(%v)", err))
			break
		}
	}
	conn.Close()
	<-written
	return strings.Join(statuses, " ")
}
