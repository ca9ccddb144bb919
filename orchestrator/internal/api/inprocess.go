package api

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// inProcess is a client connection to services in the same process: REST calls
// go through the same handlers and interceptors as gRPC calls, without a
// socket and without being encoded. Streaming calls are not among them; REST
// has handlers of its own for those.
type inProcess struct {
	unary   grpc.UnaryServerInterceptor
	methods map[string]boundMethod
}

type boundMethod struct {
	server any
	call   grpc.MethodHandler
}

func newInProcess(unary grpc.UnaryServerInterceptor) *inProcess {
	return &inProcess{unary: unary, methods: make(map[string]boundMethod)}
}

// RegisterService makes it a grpc.ServiceRegistrar.
func (c *inProcess) RegisterService(desc *grpc.ServiceDesc, server any) {
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = boundMethod{server, m.Handler}
	}
}

// Invoke calls a method.
func (c *inProcess) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	m, ok := c.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "there is no method %s", method)
	}
	request, isRequest := args.(proto.Message)
	answer, isAnswer := reply.(proto.Message)
	if !isRequest || !isAnswer {
		return status.Errorf(codes.Internal, "%s was called with %T and %T", method, args, reply)
	}
	if out, ok := metadata.FromOutgoingContext(ctx); ok {
		ctx = metadata.NewIncomingContext(ctx, out)
	}
	resp, err := m.call(m.server, ctx, func(in any) error { return copyMessage(in, request) }, c.unary)
	if err != nil {
		return err
	}
	return copyMessage(answer, resp)
}

// copyMessage fills to, which is empty.
func copyMessage(to, from any) error {
	t, isMessage := to.(proto.Message)
	f, alsoMessage := from.(proto.Message)
	if !isMessage || !alsoMessage {
		return fmt.Errorf("cannot copy %T to %T", from, to)
	}
	if f.ProtoReflect().Descriptor() != t.ProtoReflect().Descriptor() {
		return fmt.Errorf("cannot copy %T to %T", from, to)
	}
	proto.Merge(t, f)
	return nil
}

var errNoStreams = errors.New("streaming calls do not go through the in-process connection")

// NewStream makes it a grpc.ClientConnInterface.
func (c *inProcess) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errNoStreams
}
