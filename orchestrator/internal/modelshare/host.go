package modelshare

import (
	"encoding/hex"
	"fmt"
	"net"
	"strings"
)

const hostSuffix = ".node"

// hostOf makes a host of a node's id, which may have any characters.
func hostOf(nodeID string) string { return hex.EncodeToString([]byte(nodeID)) + hostSuffix }

// nodeOf is the node of a host and port that hostOf made.
func nodeOf(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("the address of a node: %w", err)
	}
	id, err := hex.DecodeString(strings.TrimSuffix(host, hostSuffix))
	if err != nil {
		return "", fmt.Errorf("the address of a node: %w", err)
	}
	return string(id), nil
}
