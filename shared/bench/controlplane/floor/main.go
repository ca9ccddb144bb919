// Command floor is the least that a Go server can be: it serves HTTP and does
// nothing. The benchmark compares idle programs with it.
package main

import (
	"log"
	"net"
	"net/http"
	"time"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	log.Fatal(server.Serve(listener))
}
