package api

import (
	"mime"
	"path"
	"strings"
)

// attachment is the Content-Disposition of a file to be saved under the last
// part of a name.
func attachment(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`\/:*?"<>|`, r) {
			return '_'
		}
		return r
	}, path.Base(name))
	// Beyond ASCII it is written as RFC 2231 has it.
	if value := mime.FormatMediaType("attachment", map[string]string{"filename": name}); value != "" {
		return value
	}
	return "attachment"
}
