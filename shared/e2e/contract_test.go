package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// TestBaseContract calls the three base RPCs as grpcurl does: knowing nothing
// but what reflection tells.
func TestBaseContract(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	conn, err := grpc.NewClient(c.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to be lost
	service := reflectService(t, conn, "orchion.v1.Orchestrator")

	call := func(method, request string) (string, error) {
		m := service.Methods().ByName(protoreflect.Name(method))
		in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
		if err := protojson.Unmarshal([]byte(request), in); err != nil {
			t.Fatalf("%s(%s): %v", method, request, err)
		}
		err := conn.Invoke(t.Context(), "/orchion.v1.Orchestrator/"+method, in, out)
		text, _ := protojson.MarshalOptions{}.Marshal(out)
		return strings.ReplaceAll(string(text), " ", ""), err
	}

	for _, test := range []struct {
		method, request string
		code            codes.Code
		want            string // in the answer, or in the error's message
	}{
		{"RegisterNode", `{"node":{"id":"bare","hostname":"bare.lan","labels":{"room":"attic"}}}`, codes.OK, `"nodeId":"bare"`},
		{"RegisterNode", `{"node":{"hostname":"unnamed.lan"}}`, codes.OK, `"nodeId":"`},
		{"RegisterNode", `{}`, codes.InvalidArgument, "node"},
		{"RegisterNode", `{"node":{"id":"a b","hostname":"h"}}`, codes.InvalidArgument, "node.id"},
		{"RegisterNode", `{"node":{"id":"x","hostname":""}}`, codes.InvalidArgument, "node.hostname"},
		{"RegisterNode", `{"node":{"id":"` + strings.Repeat("x", 129) + `","hostname":"h"}}`, codes.InvalidArgument, "node.id"},
		{"RegisterNode", `{"node":{"id":"x","hostname":"h","capabilities":{"memory":{"totalBytes":"-1"}}}}`, codes.InvalidArgument, "memory"},
		{"Heartbeat", `{"nodeId":"bare","usage":{"cpuPercent":12.5}}`, codes.OK, `"heartbeatInterval":"`},
		{"Heartbeat", `{"nodeId":"nobody"}`, codes.NotFound, "nobody"},
		{"Heartbeat", `{}`, codes.InvalidArgument, "node_id"},
		{"ListNodes", `{}`, codes.OK, `"id":"bare"`},
		{"ListNodes", `{"label":"room=attic"}`, codes.OK, `"totalSize":1`},
		{"ListNodes", `{"label":"room=cellar"}`, codes.OK, `{}`},
		{"ListNodes", `{"pageSize":-1}`, codes.InvalidArgument, "pageSize"},
		{"ListNodes", `{"state":"SLEEPING"}`, codes.InvalidArgument, "state"},
		{"ListNodes", `{"pageToken":"garbage!"}`, codes.InvalidArgument, "pageToken"},
	} {
		answer, err := call(test.method, test.request)
		if status.Code(err) != test.code {
			t.Errorf("%s(%.80s) = %v, want code %v", test.method, test.request, err, test.code)
			continue
		}
		if err != nil {
			answer = status.Convert(err).Message()
		}
		if !strings.Contains(answer, test.want) {
			t.Errorf("%s(%.80s) answers %q, want %q in it", test.method, test.request, answer, test.want)
		}
	}

	// A node that a bare client registered is a node like any other, over REST
	// too; when its heartbeats stop it goes.
	response, err := http.Get(c.url + "/api/nodes/bare")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET /api/nodes/bare: %v, %v", response, err)
	}
	_ = response.Body.Close()
	c.eventually("the silent nodes are offline", func() error {
		answer, err := call("ListNodes", `{}`)
		if err == nil && answer != "{}" {
			err = &httpError{0, answer}
		}
		return err
	})
	if answer, err := call("ListNodes", `{"state":"all"}`); err != nil || !strings.Contains(answer, "NODE_STATE_OFFLINE") {
		t.Errorf("all nodes are %s, %v; want the offline ones too", answer, err)
	}
}

// reflectService asks the server what a service is.
func reflectService(t *testing.T, conn *grpc.ClientConn, name protoreflect.FullName) protoreflect.ServiceDescriptor {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*descriptorpb.FileDescriptorProto{}
	ask := func(request *reflectionv1.ServerReflectionRequest) {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if failure := answer.GetErrorResponse(); failure != nil {
			t.Fatalf("reflection: %v", failure)
		}
		for _, raw := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(raw, file); err != nil {
				t.Fatal(err)
			}
			files[file.GetName()] = file
		}
	}
	ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: string(name)}})
	for missing := true; missing; {
		missing = false
		for _, file := range files {
			for _, dependency := range file.GetDependency() {
				if files[dependency] == nil {
					missing = true
					ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: dependency}})
				}
			}
		}
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range files {
		set.File = append(set.File, file)
	}
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	return findService(t, registry, name)
}

func findService(t *testing.T, registry *protoregistry.Files, name protoreflect.FullName) protoreflect.ServiceDescriptor {
	t.Helper()
	found, err := registry.FindDescriptorByName(name)
	if err != nil {
		t.Fatal(err)
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		t.Fatalf("%s is no service", name)
	}
	return service
}
