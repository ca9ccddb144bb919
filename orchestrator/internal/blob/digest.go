package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// algorithm begins every digest.
const algorithm = "sha256:"

// Digest names content: "sha256:" and 64 lower-case hexadecimal digits.
type Digest string

// ParseDigest reads a digest; false when the text is none.
func ParseDigest(text string) (Digest, bool) {
	digits, ok := strings.CutPrefix(text, algorithm)
	if !ok || len(digits) != 2*sha256.Size || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", false
	}
	return Digest(text), true
}

// DigestOf gives the digest of a SHA-256 sum.
func DigestOf(sum []byte) Digest { return Digest(algorithm + hex.EncodeToString(sum)) }

// digits are what names the file.
func (d Digest) digits() string { return strings.TrimPrefix(string(d), algorithm) }
