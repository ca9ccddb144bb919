// Package e2e tests Orchion from outside: it builds the real programs, starts
// them with data directories of their own, and uses them as people do, through
// REST, gRPC, the command line and unmodified OpenAI SDKs, on real container
// engines with a real Ollama.
//
// It needs at least one of ORCHION_TEST_DOCKER_HOST and
// ORCHION_TEST_PODMAN_HOST (such as unix:///var/run/docker.sock), and for the
// tests with models ORCHION_TEST_OLLAMA_BIN (the Ollama program that the
// offline image is made from). `./shared/scripts/test-all.sh` sets all of them.
// Everything that the tests make on an engine carries the label
// orchion.node=e2e-… and is removed.
package e2e
