// Command started prints when it began, in nanoseconds since 1970, and ends. With
// the argument "stay" it ends in a job's second attempt only: the first stays
// until it is stopped. With "flood N" it prints N bytes in lines of 100 as fast as
// they are taken, and last how many nanoseconds that took.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	began := time.Now()
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "flood":
		if err := flood(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(time.Since(began).Nanoseconds())
		return
	case len(args) == 1 && args[0] == "stay":
		for os.Getenv("ORCHION_ATTEMPT") == "1" {
			time.Sleep(time.Hour)
		}
	}
	fmt.Println(began.UnixNano())
}

func flood(size string) error {
	left, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	chunk := bytes.Repeat(line, 640) // as large as a pipe
	for left > 0 {
		n, err := os.Stdout.Write(chunk[:min(left, int64(len(chunk)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
