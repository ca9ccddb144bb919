package tunnel

import (
	"bufio"
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protodelim"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

// Log gives the entries of a log, one after the other.
type Log func(ctx context.Context, handle func(*orchionv1.LogEntry) error) error

// serveLog sends the log of an engine's container through a tunnel.
func (s *Server) serveLog(ask *orchionv1.OpenTunnel) {
	id := ask.GetTunnelId()
	if s.cfg.OpenLog == nil {
		s.cfg.Refuse(id, "this node has no logs of engines")
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	read, err := s.cfg.OpenLog(ctx, ask.GetEngineLog())
	if err != nil {
		s.cfg.Refuse(id, err.Error())
		return
	}
	stream, err := s.cfg.Client.Serve(metadata.AppendToOutgoingContext(ctx, metadataTunnelID, id), asFrames)
	if err != nil {
		s.cfg.Refuse(id, "the tunnel could not be opened")
		return
	}
	conn := streamconn.New(streamconn.OverGRPC(stream), cancel, "node", streamconn.Addr("tunnel/"+id))
	conn.SendBulk()
	// Who followed a log that is quiet is noticed to have left by this alone.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-conn.Done():
			stop()
		case <-reading.Done():
		}
	}()
	out := bufio.NewWriterSize(conn, streamconn.BulkFrame)
	follow := ask.GetEngineLog().GetFollow()
	err = read(reading, func(entry *orchionv1.LogEntry) error {
		if _, err := protodelim.MarshalTo(out, entry); err != nil {
			return err
		}
		if follow {
			return out.Flush()
		}
		return nil
	})
	if err != nil && reading.Err() == nil {
		s.cfg.Logger.Warn("the log of an engine broke off", "tunnel_id", id, "replica_id", ask.GetEngineLog().GetReplicaId(), "error", err)
		_, _ = protodelim.MarshalTo(out, &orchionv1.LogEntry{Note: true, Text: "the log broke off here: " + err.Error()}) // or the reader is gone
	}
	if out.Flush() != nil {
		conn.Close()
		return
	}
	linger(conn)
}
