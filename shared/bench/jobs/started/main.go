// Command started prints when it began, in nanoseconds since 1970, and ends.
package main

import (
	"fmt"
	"time"
)

func main() { fmt.Println(time.Now().UnixNano()) }
