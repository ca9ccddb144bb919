package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

// Metadata that names the attempt behind a connection to the gateway.
const (
	metadataJobID   = "orchion-job-id"
	metadataAttempt = "orchion-attempt"
)

// Dialer connects this machine's jobs with the gateway.
type Dialer struct {
	client orchionv1.TunnelClient
}

// NewDialer makes a Dialer; the client's connection names this node.
func NewDialer(client orchionv1.TunnelClient) *Dialer { return &Dialer{client: client} }

// DialGateway opens a connection from an attempt to the gateway, over which
// HTTP/1.1 is spoken. It ends with the connection to the orchestrator or by
// Close; ctx only bounds the opening. The orchestrator's refusal of the attempt
// shows as an error of the first Read.
func (d *Dialer) DialGateway(ctx context.Context, jobID string, attempt int) (net.Conn, error) {
	conn, err := d.dial(ctx, jobID, attempt)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (d *Dialer) dial(ctx context.Context, jobID string, attempt int) (*streamconn.Conn, error) {
	// The stream outlives ctx, but not a ctx that ends before it is open.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	streamCtx = metadata.AppendToOutgoingContext(streamCtx, metadataJobID, jobID, metadataAttempt, strconv.Itoa(attempt))
	stream, err := d.client.Call(streamCtx, asFrames)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("connect to the gateway: %w", err)
	}
	return streamconn.New(streamconn.OverGRPC(stream), cancel, streamconn.Addr("job/"+jobID), "gateway"), nil
}

// HTTPClient gives a client that reaches the gateway as an attempt, whatever
// the host of the URL. The caller closes its idle connections in the end.
func (d *Dialer) HTTPClient(jobID string, attempt int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialGateway(ctx, jobID, attempt)
			},
			DisableCompression:  true,
			IdleConnTimeout:     30 * time.Second,
			MaxIdleConnsPerHost: 4,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the gateway does not redirect")
		},
	}
}
