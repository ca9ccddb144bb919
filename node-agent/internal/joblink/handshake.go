package joblink

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// handshakeTime is how long either side waits for the other's part.
const handshakeTime = 5 * time.Second

const nonceSize = 32

var errWrongToken = errors.New("the other side does not know this link's token")

// greetAgent is the forwarder's part: it sends a nonce, checks the agent's proof
// over it, and answers with a proof of its own.
func greetAgent(conn net.Conn, token []byte) error {
	return withDeadline(conn, func() error {
		var mine, theirs [nonceSize]byte
		_, _ = rand.Read(mine[:]) // never fails
		if _, err := conn.Write(mine[:]); err != nil {
			return fmt.Errorf("send the nonce: %w", err)
		}
		if _, err := io.ReadFull(conn, theirs[:]); err != nil {
			return fmt.Errorf("read the agent's nonce: %w", err)
		}
		if err := checkProof(conn, proof(token, "agent", mine, theirs)); err != nil {
			return err
		}
		if _, err := conn.Write(proof(token, "forwarder", mine, theirs)); err != nil {
			return fmt.Errorf("send the proof: %w", err)
		}
		return nil
	})
}

// greetForwarder is the agent's part.
func greetForwarder(conn net.Conn, token []byte) error {
	return withDeadline(conn, func() error {
		var mine, theirs [nonceSize]byte
		_, _ = rand.Read(mine[:]) // never fails
		if _, err := io.ReadFull(conn, theirs[:]); err != nil {
			return fmt.Errorf("read the forwarder's nonce: %w", err)
		}
		if _, err := conn.Write(append(mine[:], proof(token, "agent", theirs, mine)...)); err != nil {
			return fmt.Errorf("send the proof: %w", err)
		}
		return checkProof(conn, proof(token, "forwarder", theirs, mine))
	})
}

// proof shows knowledge of the token in one role for one pair of nonces, the
// forwarder's first.
func proof(token []byte, role string, forwarder, agent [nonceSize]byte) []byte {
	mac := hmac.New(sha256.New, token)
	mac.Write([]byte(role)) // a hash's Write never fails
	mac.Write(forwarder[:])
	mac.Write(agent[:])
	return mac.Sum(nil)
}

func checkProof(conn net.Conn, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("read the proof: %w", err)
	}
	if !hmac.Equal(got, want) {
		return errWrongToken
	}
	return nil
}

func withDeadline(conn net.Conn, f func() error) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return fmt.Errorf("set the deadline: %w", err)
	}
	if err := f(); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the deadline: %w", err)
	}
	return nil
}
