package settings

import (
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  int64
		shown string
	}{
		{"0", 0, "0"},
		{"1000", 1000, "1000"},
		{"1024", 1 << 10, "1KiB"},
		{"512MiB", 512 << 20, "512MiB"},
		{"10 GiB", 10 << 30, "10GiB"},
		{"2TiB", 2 << 40, "2TiB"},
		{"1536KiB", 1536 << 10, "1536KiB"},
	} {
		var n int64
		b := NewBytes(&n)
		if err := b.Set(tt.text); err != nil || n != tt.want || b.String() != tt.shown {
			t.Errorf("%q is %d, %v, shown as %q, want %d, shown as %q", tt.text, n, err, b.String(), tt.want, tt.shown)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "GiB", "10GB", "9999999999TiB", "x"} {
		n := int64(7)
		if err := NewBytes(&n).Set(text); err == nil || n != 7 {
			t.Errorf("%q is taken for %d", text, n)
		}
	}
}

func TestPeriod(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  time.Duration
		shown string
	}{
		{"0", 0, "0"},
		{"14d", 14 * day, "14d"},
		{"36h", 36 * time.Hour, "36h0m0s"},
		{"48h", 2 * day, "2d"},
		{"90m", 90 * time.Minute, "1h30m0s"},
	} {
		var d time.Duration
		p := NewPeriod(&d)
		if err := p.Set(tt.text); err != nil || d != tt.want || p.String() != tt.shown {
			t.Errorf("%q is %v, %v, shown as %q, want %v, shown as %q", tt.text, d, err, p.String(), tt.want, tt.shown)
		}
	}
	for _, text := range []string{"", "-1d", "-5m", "1.5d", "d", "99999999d", "two days"} {
		d := time.Minute
		if err := NewPeriod(&d).Set(text); err == nil || d != time.Minute {
			t.Errorf("%q is taken for %v", text, d)
		}
	}
}
