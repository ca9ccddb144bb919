package api

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/usage"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxUsageName bounds the names that usage is narrowed by.
const maxUsageName = 512

// usageReports serves orchion.v1.Usage.
type usageReports struct {
	orchionv1.UnimplementedUsageServer
	cfg *Config
}

func (s *usageReports) GetUsage(ctx context.Context, req *orchionv1.GetUsageRequest) (*orchionv1.GetUsageResponse, error) {
	q, err := usageQueryFromProto(req, time.Now())
	if err != nil {
		return nil, err
	}
	report, err := s.cfg.Usage.Report(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &orchionv1.GetUsageResponse{
		From: timestamppb.New(report.From), To: timestamppb.New(report.To), Step: durationpb.New(report.Step),
		Total: countsToProto(&report.Total), LostRequests: int64(s.cfg.Usage.Lost()),
	}
	for i := range report.Series {
		out.Series = append(out.Series, usageSeriesToProto(&report.Series[i]))
	}
	return out, nil
}

var usageGroups = map[string]usage.GroupBy{
	"": usage.Together, "model": usage.ByModel, "caller": usage.ByCaller, "node": usage.ByNode,
}

func usageQueryFromProto(req *orchionv1.GetUsageRequest, now time.Time) (q usage.Query, err error) {
	group, ok := usageGroups[req.GetGroupBy()]
	if !ok {
		return q, fault.BadField("groupBy", "is %q; allowed are model, caller, node and nothing", clip(req.GetGroupBy()))
	}
	q = usage.Query{
		GroupBy: group, To: now, MaxSeries: int(req.GetMaxSeries()),
		Model: req.GetModel(), Caller: req.GetCaller(), NodeID: req.GetNodeId(),
	}
	for field, name := range map[string]string{"model": q.Model, "caller": q.Caller, "nodeId": q.NodeID} {
		if err := checkText(field, name, maxUsageName); err != nil {
			return q, err
		}
	}
	if req.GetTo() != nil {
		if q.To, err = timeField("to", req.GetTo()); err != nil {
			return q, err
		}
	}
	q.From = q.To.Add(-24 * time.Hour)
	if req.GetFrom() != nil {
		if q.From, err = timeField("from", req.GetFrom()); err != nil {
			return q, err
		}
	}
	if req.GetStep() != nil {
		q.Step, err = duration("step", req.GetStep(), time.Minute, 366*24*time.Hour)
	}
	return q, err
}

// timeField reads a time that is of this epoch.
func timeField(field string, t *timestamppb.Timestamp) (time.Time, error) {
	const last = 1 << 33 // in the year 2242
	if t.CheckValid() != nil || t.GetSeconds() < 0 || t.GetSeconds() > last {
		return time.Time{}, fault.BadField(field, "is out of range; it must be a time from 1970 to 2242, such as 2026-01-31T12:00:00Z")
	}
	return t.AsTime(), nil
}

func usageSeriesToProto(s *usage.Series) *orchionv1.UsageSeries {
	out := &orchionv1.UsageSeries{Key: s.Key, Others: s.Others, Total: countsToProto(&s.Total)}
	for i := range s.Points {
		out.Points = append(out.Points, &orchionv1.UsagePoint{
			Start: timestamppb.New(s.Points[i].Start), Counts: countsToProto(&s.Points[i].Counts),
		})
	}
	return out
}

func countsToProto(c *usage.Counts) *orchionv1.UsageCounts {
	return &orchionv1.UsageCounts{
		Requests: c.Requests, Failed: c.Failed, Cancelled: c.Cancelled,
		TokensIn: c.TokensIn, TokensOut: c.TokensOut, TokensEstimated: c.Estimated, TokensPerSecond: c.TokensPerSecond(),
		Duration: latencyToProto(&c.Duration), FirstToken: latencyToProto(&c.FirstToken), Queue: latencyToProto(&c.Queue),
	}
}

func latencyToProto(l *usage.Latency) *orchionv1.UsageLatency {
	if l.Count() == 0 {
		return nil
	}
	return &orchionv1.UsageLatency{MeanMs: milliseconds(l.Mean()), P50Ms: milliseconds(l.Quantile(.5)), P95Ms: milliseconds(l.Quantile(.95))}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *usageReports) ListUsageRequests(_ context.Context, req *orchionv1.ListUsageRequestsRequest) (*orchionv1.ListUsageRequestsResponse, error) {
	filter, err := callFilterFromProto(req)
	if err != nil {
		return nil, err
	}
	calls, next := s.cfg.Usage.Recent(filter)
	out := &orchionv1.ListUsageRequestsResponse{}
	for i := range calls {
		out.Requests = append(out.Requests, callToProto(&calls[i].Call))
	}
	if next > 0 {
		out.NextPageToken = pageToken(strconv.FormatUint(next, 10))
	}
	return out, nil
}

func callFilterFromProto(req *orchionv1.ListUsageRequestsRequest) (f meter.Filter, err error) {
	f = meter.Filter{Model: req.GetModel(), Caller: req.GetCaller()}
	if f.Limit, err = pageSize(req.GetPageSize()); err != nil {
		return f, err
	}
	for field, name := range map[string]string{"model": f.Model, "caller": f.Caller} {
		if err := checkText(field, name, maxUsageName); err != nil {
			return f, err
		}
	}
	if req.GetPageToken() != "" {
		cursor, err := pageCursor(req.GetPageToken())
		if err != nil {
			return f, err
		}
		if f.Before, err = strconv.ParseUint(cursor, 10, 64); err != nil || f.Before == 0 {
			return f, fault.BadField("pageToken", "is not a token of this list; take nextPageToken of the last answer")
		}
	}
	return f, readStatus(&f, req.GetStatus())
}

var outcomes = map[string]meter.Outcome{"ok": meter.OK, "failed": meter.Failed, "cancelled": meter.Cancelled}

func readStatus(f *meter.Filter, text string) error {
	if text == "" {
		return nil
	}
	if outcome, ok := outcomes[text]; ok {
		f.Outcome = &outcome
		return nil
	}
	status, err := strconv.Atoi(text)
	if err != nil || status < 100 || status > 599 {
		return fault.BadField("status", "is %q; allowed are ok, failed, cancelled and an HTTP status from 100 to 599", clip(text))
	}
	f.Status = status
	return nil
}

func callToProto(c *meter.Call) *orchionv1.UsageRequest {
	return &orchionv1.UsageRequest{
		RequestId: c.RequestID, Time: timestamppb.New(c.Time), Endpoint: c.Endpoint, Model: c.Model, Caller: c.Caller,
		NodeId: c.NodeID, ReplicaId: c.ReplicaID, Engine: c.Engine, RouteReason: c.RouteReason,
		Status: int32(c.Status), Broken: c.Broken, Streamed: c.Streamed,
		TokensIn: c.TokensIn, TokensOut: c.TokensOut, TokensEstimated: c.Estimated, TokensPerSecond: c.TokensPerSecond(),
		DurationMs: milliseconds(c.Duration), FirstTokenMs: milliseconds(c.FirstToken), QueueMs: milliseconds(c.Queue),
	}
}
