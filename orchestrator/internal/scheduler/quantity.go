package scheduler

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteUnits are the suffixes of sizes, in bytes.
var byteUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"B", 1},
}

// parseBytes reads a size such as 16GiB, 1.5 TB or 1048576.
func parseBytes(text string) (float64, error) {
	number, factor := text, 1.0
	for _, unit := range byteUnits {
		if n, ok := strings.CutSuffix(text, unit.suffix); ok {
			number, factor = strings.TrimSpace(n), unit.bytes
			break
		}
	}
	value, err := parseNumber(number)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size; write bytes or a number with KiB, MiB, GiB, TiB, KB, MB, GB or TB, such as 16GiB", text)
	}
	return value * factor, nil
}

// parseNumber reads a number that is not negative and not odd.
func parseNumber(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 || math.IsInf(value, 0) || math.IsNaN(value) {
		return 0, fmt.Errorf("%q is not a number of 0 or more", text)
	}
	return value, nil
}

// formatBytes writes a size as people read it: "7.8 GiB".
func formatBytes[N int64 | float64](n N) string {
	value, unit := float64(n), "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, larger
	}
	return formatNumber(value) + " " + unit
}

// formatCores writes thousandths of a core as cores.
func formatCores(millis int64) string {
	text := formatNumber(float64(millis) / 1000)
	if text == "1" {
		return "1 core"
	}
	return text + " cores"
}

// formatNumber writes at most one digit after the point, and for small numbers
// two: 8, 7.8, 0.25.
func formatNumber(value float64) string {
	scale := 10.0
	if value < 1 {
		scale = 100
	}
	return strconv.FormatFloat(math.Round(value*scale)/scale, 'f', -1, 64)
}
