package settings

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a flag's value in bytes: a number, with a unit if it is large.
type Bytes struct{ to *int64 }

// NewBytes makes the value of a flag that sets to.
func NewBytes(to *int64) Bytes { return Bytes{to} }

// byteUnits are from the largest to the smallest, so that a number is shown in
// the largest that divides it.
func byteUnits() []struct {
	name string
	size int64
} {
	return []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

// String implements pflag.Value.
func (b Bytes) String() string {
	if b.to == nil {
		return "" // pflag asks the zero value what no default looks like
	}
	for _, unit := range byteUnits() {
		if *b.to > 0 && *b.to%unit.size == 0 {
			return strconv.FormatInt(*b.to/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(*b.to, 10)
}

// Set implements pflag.Value.
func (b Bytes) Set(text string) error {
	number, size := strings.TrimSpace(text), int64(1)
	for _, unit := range byteUnits() {
		if rest, found := strings.CutSuffix(number, unit.name); found {
			number, size = strings.TrimSpace(rest), unit.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/size {
		return fmt.Errorf("is %q; it must be a number of bytes, or one with KiB, MiB, GiB or TiB behind it, such as 512MiB", text)
	}
	*b.to = n * size
	return nil
}

// Type implements pflag.Value.
func (b Bytes) Type() string { return "bytes" }

// Period is a flag's value in time that may be long: as time.ParseDuration
// reads it, or in days.
type Period struct{ to *time.Duration }

// NewPeriod makes the value of a flag that sets to.
func NewPeriod(to *time.Duration) Period { return Period{to} }

const day = 24 * time.Hour

// String implements pflag.Value.
func (p Period) String() string {
	switch {
	case p.to == nil:
		return ""
	case *p.to == 0:
		return "0"
	case *p.to%day == 0:
		return strconv.FormatInt(int64(*p.to/day), 10) + "d"
	default:
		return p.to.String()
	}
}

// Set implements pflag.Value.
func (p Period) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, found := strings.CutSuffix(text, "d"); found {
		var n int64
		n, err = strconv.ParseInt(days, 10, 64)
		if n > int64(math.MaxInt64/day) {
			n = -1
		}
		d = time.Duration(n) * day
	}
	if err != nil || d < 0 {
		return fmt.Errorf("is %q; it must be a period such as 14d, 36h or 90m, or 0", text)
	}
	*p.to = d
	return nil
}

// Type implements pflag.Value.
func (p Period) Type() string { return "period" }
