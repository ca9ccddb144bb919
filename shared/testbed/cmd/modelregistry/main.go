// Command modelregistry serves the offline models in the protocol of Ollama's
// registry, for trying things by hand:
//
//	go run ./shared/testbed/cmd/modelregistry -addr 127.0.0.1:25001 -rate 200000
//	ollama pull --insecure localhost:25001/library/tiny
//
// The name localhost matters: Ollama wants blobs to come from another host than
// the registry, and 127.0.0.1 is one.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/orchion/orchion/shared/testbed/modelregistry"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:25001", "address to listen at")
	rate := flag.Int("rate", 0, "bytes a second for each download; 0: no limit")
	flag.Parse()
	if err := serve(*addr, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "modelregistry:", err)
		os.Exit(1)
	}
}

func serve(addr string, rate int) error {
	models, err := offlinemodel.All()
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              addr,
		Handler:           modelregistry.NewHandler(models, modelregistry.Options{BytesPerSecond: rate}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	return server.ListenAndServe()
}
