package measure

import (
	"fmt"
	"runtime"
)

// Header prints what the figures below were measured on.
func Header() {
	fmt.Printf("%s/%s, %d processors, %s\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Printf("%-52s %14s %14s %8s\n", "", "measured", "floor", "ratio")
}

// Row prints a figure beside its floor.
func Row(what string, measured, floor float64, format string) {
	fmt.Printf("%-52s %14s %14s %8.3f\n", what, fmt.Sprintf(format, measured), fmt.Sprintf(format, floor), measured/floor)
}

// Fact prints a figure that has no floor.
func Fact(what, value string) { fmt.Printf("%-52s %14s\n", what, value) }
