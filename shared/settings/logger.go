package settings

import (
	"io"
	"log/slog"
)

// NewLogger makes the logger that --log-level (debug, info, warn, error) and
// --log-format (text, json) ask for. The flags have been checked; what is not
// one of these is info and text.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	options := &slog.HandlerOptions{}
	var at slog.Level
	if err := at.UnmarshalText([]byte(level)); err == nil {
		options.Level = at
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
