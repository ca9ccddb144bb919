package measure

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Dial connects to an orchestrator's gRPC address.
func Dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// SimulatedNode is a node as a larger machine registers.
func SimulatedNode(id string) *orchionv1.Node {
	return &orchionv1.Node{
		Id: id, Hostname: id + ".bench", AgentVersion: "bench",
		Labels: map[string]string{"room": "bench"},
		Capabilities: &orchionv1.Capabilities{
			Os: "linux", Arch: "amd64", Platform: "debian 12", Kernel: "6.1.0",
			Cpu:      &orchionv1.Cpu{Model: "bench", PhysicalCores: 8, LogicalCores: 16},
			Memory:   &orchionv1.Memory{TotalBytes: 64 << 30},
			Disk:     &orchionv1.Disk{TotalBytes: 1 << 40, Path: "/var/lib/orchion"},
			Gpus:     []*orchionv1.Gpu{{Vendor: "nvidia", Model: "NVIDIA GeForce RTX 3090", MemoryBytes: 24 << 30, DriverVersion: "580.126.09", Uuid: "GPU-" + id}},
			Runtimes: []*orchionv1.ContainerRuntime{{Name: "podman", Version: "5.4.2", Endpoint: "unix:///run/podman/podman.sock"}},
		},
	}
}
