package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// newREST makes the handler of the REST calls that the protos annotate. They
// end up in the same service implementations as gRPC calls.
func newREST(connection *inProcess) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &restMarshaler{}),
		runtime.WithRoutingErrorHandler(routingError),
		// A form post that is taken for another method would get round the
		// rules for cross-origin requests.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithMiddlewares(knownParameters(queryParameters())),
		// Nothing of a REST request's headers is for the services.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
	)
	ctx := context.Background() // only used by connections that are dialled
	for _, err := range []error{
		orchionv1.RegisterOrchestratorHandlerClient(ctx, mux, orchionv1.NewOrchestratorClient(connection)),
		orchionv1.RegisterJobsHandlerClient(ctx, mux, orchionv1.NewJobsClient(connection)),
		orchionv1.RegisterQueuesHandlerClient(ctx, mux, orchionv1.NewQueuesClient(connection)),
		orchionv1.RegisterSchedulesHandlerClient(ctx, mux, orchionv1.NewSchedulesClient(connection)),
		orchionv1.RegisterArtifactsHandlerClient(ctx, mux, orchionv1.NewArtifactsClient(connection)),
		orchionv1.RegisterDeploymentsHandlerClient(ctx, mux, orchionv1.NewDeploymentsClient(connection)),
		orchionv1.RegisterModelsHandlerClient(ctx, mux, orchionv1.NewModelsClient(connection)),
		orchionv1.RegisterGatewayHandlerClient(ctx, mux, orchionv1.NewGatewayClient(connection)),
		orchionv1.RegisterUsageHandlerClient(ctx, mux, orchionv1.NewUsageClient(connection)),
	} {
		if err != nil {
			return nil, fmt.Errorf("register REST handlers: %w", err)
		}
	}
	return headAsGet(joinRepeated("label", mux)), nil
}

// headAsGet answers HEAD as it would GET: net/http leaves the body out.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		next.ServeHTTP(w, r)
	})
}

// encodeJSON writes a message as everywhere over HTTP: fields with their zero
// value are there, absent messages are not. protojson deliberately varies its
// spaces; without them, equal messages are equal bytes.
func encodeJSON(m proto.Message) ([]byte, error) {
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return withoutSpaces(data), nil
}

// withoutSpaces takes the spaces between tokens out of JSON that protojson wrote,
// in place: json.Compact would read all of it once more for errors.
func withoutSpaces(data []byte) []byte {
	kept := data[:0]
	text := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == ' ' && !text:
			continue
		case c == '\\': // only in texts
			kept = append(kept, c)
			i++
		case c == '"':
			text = !text
		}
		kept = append(kept, data[i])
	}
	return kept
}

// restMarshaler is protojson that refuses what it does not know, with errors
// that tell a person what to change.
type restMarshaler struct{ runtime.JSONPb }

// Marshal writes one message.
func (m *restMarshaler) Marshal(v any) ([]byte, error) {
	message, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T cannot be written as an answer", v)
	}
	return encodeJSON(message)
}

// NewDecoder reads one JSON document to the end of r.
func (m *restMarshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return fmt.Errorf("body: is larger than %d bytes", large.Limit)
			}
			return fmt.Errorf("body: could not be read to its end: %w", err)
		}
		if len(bytes.TrimSpace(data)) == 0 {
			return io.EOF // taken for the empty message
		}
		message, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("a body cannot be read into %T", v)
		}
		// Without runtime.JSONPb's own decoder, which stops after the first
		// document and words its errors in another way.
		if err := protojson.Unmarshal(data, message); err != nil {
			return bodyError(err)
		}
		return nil
	})
}

// jsonErrorPosition is how protojson says where an error is.
var jsonErrorPosition = regexp.MustCompile(`^(syntax error )?\(line (\d+):(\d+)\): (.*)$`)

// unexpectedNumber is how protojson says that a number stands where something
// else does.
var unexpectedNumber = regexp.MustCompile(`^unexpected token [-+.0-9]`)

func bodyError(err error) error {
	// protojson deliberately varies a space in its messages.
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimPrefix(text, "proto: ")
	if m := jsonErrorPosition.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("%s%s (line %s, column %s)", m[1], m[4], m[2], m[3])
		if unexpectedNumber.MatchString(m[4]) {
			text += `; durations and texts stand in quotes, such as "5s"`
		}
	}
	return errors.New("body: " + text)
}

// routingError answers paths and methods that there are not.
func routingError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	err := &runtime.HTTPStatusError{HTTPStatus: httpStatus}
	switch httpStatus {
	case http.StatusMethodNotAllowed:
		err.Err = status.Errorf(codes.Unimplemented, "%s does not go with %s; /api/openapi.json lists what does", r.Method, clip(r.URL.Path))
	case http.StatusNotFound:
		err.Err = status.Errorf(codes.NotFound, "there is no %s; /api/openapi.json lists what there is", clip(r.URL.Path))
	default:
		err.Err = status.Errorf(codes.InvalidArgument, "the path %s cannot be read", clip(r.URL.Path))
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}

// queryParameters answers, by "METHOD /path" pattern, which query parameters
// each REST call without a body takes: the fields of its request.
func queryParameters() map[string][]string {
	known := make(map[string][]string)
	for _, file := range []protoreflect.FileDescriptor{
		orchionv1.File_orchion_v1_node_proto, orchionv1.File_orchion_v1_job_proto,
		orchionv1.File_orchion_v1_queue_proto, orchionv1.File_orchion_v1_schedule_proto, orchionv1.File_orchion_v1_deployment_proto, orchionv1.File_orchion_v1_model_proto, orchionv1.File_orchion_v1_artifact_proto, orchionv1.File_orchion_v1_usage_proto, orchionv1.File_orchion_v1_event_proto,
	} {
		for service := range each(file.Services()) {
			for method := range each(service.Methods()) {
				rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
				if !ok || rule == nil || rule.GetBody() != "" {
					continue
				}
				names := []string{}
				for field := range each(method.Input().Fields()) {
					name := field.JSONName()
					path := rule.GetGet() + rule.GetDelete()
					if !strings.Contains(path, "{"+string(field.Name())+"}") && !strings.Contains(path, "{"+string(field.Name())+"=") {
						names = append(names, name)
					}
				}
				if path := rule.GetGet(); path != "" {
					known[http.MethodGet+" "+path] = names
				}
				if path := rule.GetDelete(); path != "" {
					known[http.MethodDelete+" "+path] = names
				}
			}
		}
	}
	return known
}

// each iterates over one of protoreflect's lists.
func each[T any, L interface {
	Len() int
	Get(int) T
}](list L) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for i := range list.Len() {
			if !yield(list.Get(i)) {
				return
			}
		}
	}
}

// knownParameters refuses query parameters that a call does not take: a filter
// that is misspelt would otherwise answer everything.
func knownParameters(known map[string][]string) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
			pattern, _ := runtime.HTTPPattern(r.Context())
			template := strings.ReplaceAll(pattern.String(), "=*}", "}")
			if names, ok := known[r.Method+" "+template]; ok {
				if err := errors.Join(checkParameters(r.URL.Query(), names), checkNumber(r.URL.Query(), "pageSize")); err != nil {
					writeError(w, err)
					return
				}
			}
			next(w, r, path)
		}
	}
}

// checkParameters says whether only known parameters are given; each may be
// written in lowerCamelCase or in snake_case.
func checkParameters(query url.Values, names []string) error {
	for given := range query {
		if !slices.ContainsFunc(names, func(name string) bool { return given == name || given == snakeCase(name) }) {
			if len(names) == 0 {
				return fault.BadField(clip(given), "is not a query parameter here; there are none")
			}
			return fault.BadField(clip(given), "is not a query parameter here; there are %s", strings.Join(names, ", "))
		}
	}
	return nil
}

// checkNumber says whether a parameter, if it is given, is a number.
func checkNumber(query url.Values, name string) error {
	for _, given := range []string{name, snakeCase(name)} {
		if _, err := numberFromQuery(query, given); err != nil {
			return fault.BadField(name, "is %q; it must be a whole number", clip(query.Get(given)))
		}
	}
	return nil
}

var upperCase = regexp.MustCompile(`[A-Z]`)

func snakeCase(name string) string {
	return upperCase.ReplaceAllStringFunc(name, func(c string) string { return "_" + strings.ToLower(c) })
}

// joinRepeated makes label=a&label=b the same as label=a,b.
func joinRepeated(parameter string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if query := r.URL.Query(); len(query[parameter]) > 1 {
			query.Set(parameter, strings.Join(query[parameter], ","))
			u := *r.URL
			u.RawQuery = query.Encode()
			joined := *r
			joined.URL = &u
			r = &joined
		}
		next.ServeHTTP(w, r)
	})
}

// writeError answers an error as JSON, as the REST calls do.
func writeError(w http.ResponseWriter, err error) {
	st, _ := statusOf(err)
	writeStatus(w, runtime.HTTPStatusFromCode(st.Code()), st)
}

func writeStatus(w http.ResponseWriter, httpStatus int, st *status.Status) {
	body, err := encodeJSON(st.Proto())
	if err != nil {
		body = []byte(`{"code":13,"message":"the error could not be encoded","details":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus)
	_, _ = w.Write(body) // whoever has gone away needs no answer
}
