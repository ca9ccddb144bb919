// Command started prints when it began, in nanoseconds since 1970, and ends. With
// the argument "stay" it ends in a job's second attempt only: the first stays
// until it is stopped.
package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	began := time.Now().UnixNano()
	for slices.Contains(os.Args[1:], "stay") && os.Getenv("ORCHION_ATTEMPT") == "1" {
		time.Sleep(time.Hour)
	}
	fmt.Println(began)
}
