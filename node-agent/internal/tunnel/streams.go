package tunnel

import (
	"context"

	"google.golang.org/grpc"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// serveStream makes frames of the messages of Tunnel.Serve.
type serveStream struct {
	stream grpc.BidiStreamingClient[orchionv1.ServeRequest, orchionv1.ServeResponse]
}

func (s serveStream) Send(frame []byte) error {
	return s.stream.Send(&orchionv1.ServeRequest{Data: frame})
}

func (s serveStream) Recv() ([]byte, error) {
	m, err := s.stream.Recv()
	return m.GetData(), err
}

func (s serveStream) Context() context.Context { return s.stream.Context() }

// callStream makes frames of the messages of Tunnel.Call.
type callStream struct {
	stream grpc.BidiStreamingClient[orchionv1.CallRequest, orchionv1.CallResponse]
}

func (s callStream) Send(frame []byte) error {
	return s.stream.Send(&orchionv1.CallRequest{Data: frame})
}

func (s callStream) Recv() ([]byte, error) {
	m, err := s.stream.Recv()
	return m.GetData(), err
}

func (s callStream) Context() context.Context { return s.stream.Context() }
