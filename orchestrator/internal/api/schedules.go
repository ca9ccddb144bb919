package api

import (
	"cmp"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// schedules serves orchion.v1.Schedules.
type schedules struct {
	orchionv1.UnimplementedSchedulesServer
	cfg *Config
}

func (s *schedules) ListSchedules(_ context.Context, req *orchionv1.ListSchedulesRequest) (*orchionv1.ListSchedulesResponse, error) {
	page, next, err := namedPage(req, s.cfg.Schedules.List(), func(s *schedule.Schedule) string { return s.Name }, every,
		func(s *schedule.Schedule) *orchionv1.Schedule { return scheduleToProto(s.WithoutContents()) })
	if err != nil {
		return nil, err
	}
	return &orchionv1.ListSchedulesResponse{Schedules: page, NextPageToken: next}, nil
}

func (s *schedules) GetSchedule(_ context.Context, req *orchionv1.GetScheduleRequest) (*orchionv1.Schedule, error) {
	if err := schedule.CheckName("name", req.GetName()); err != nil {
		return nil, err
	}
	return answerSchedule(s.cfg.Schedules.Get(req.GetName()))
}

func (s *schedules) PutSchedule(ctx context.Context, req *orchionv1.PutScheduleRequest) (*orchionv1.Schedule, error) {
	wanted, err := scheduleFromProto(req)
	if err != nil {
		return nil, err
	}
	if err := useBlobs(s.cfg.Blobs, &wanted.Template.Spec); err != nil {
		return nil, within("template.", err)
	}
	return answerSchedule(s.cfg.Schedules.Put(ctx, wanted))
}

func (s *schedules) UpdateSchedule(ctx context.Context, req *orchionv1.UpdateScheduleRequest) (*orchionv1.Schedule, error) {
	if err := schedule.CheckName("name", req.GetName()); err != nil {
		return nil, err
	}
	if req.Paused == nil {
		return answerSchedule(s.cfg.Schedules.Get(req.GetName()))
	}
	return answerSchedule(s.cfg.Schedules.Pause(ctx, req.GetName(), req.GetPaused()))
}

func (s *schedules) DeleteSchedule(ctx context.Context, req *orchionv1.DeleteScheduleRequest) (*emptypb.Empty, error) {
	if err := schedule.CheckName("name", req.GetName()); err != nil {
		return nil, err
	}
	if err := s.cfg.Schedules.Delete(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *schedules) TriggerSchedule(ctx context.Context, req *orchionv1.TriggerScheduleRequest) (*orchionv1.Job, error) {
	if err := schedule.CheckName("name", req.GetName()); err != nil {
		return nil, err
	}
	return answerJob(s.cfg.Schedules.Trigger(ctx, req.GetName()))
}

// previewed is how many runs are looked ahead when nobody says.
const previewed = 5

func (s *schedules) PreviewSchedule(_ context.Context, req *orchionv1.PreviewScheduleRequest) (*orchionv1.PreviewScheduleResponse, error) {
	count := cmp.Or(int(req.GetCount()), previewed)
	runs, err := schedule.Preview(req.GetCron(), req.GetTimeZone(), time.Now(), count)
	if err != nil {
		return nil, err
	}
	out := &orchionv1.PreviewScheduleResponse{}
	for _, at := range runs {
		out.Runs = append(out.Runs, timeToProto(at))
	}
	return out, nil
}

func answerSchedule(s schedule.Schedule, err error) (*orchionv1.Schedule, error) {
	if err != nil {
		return nil, err
	}
	return scheduleToProto(&s), nil
}

func scheduleToProto(s *schedule.Schedule) *orchionv1.Schedule {
	return &orchionv1.Schedule{
		Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, Overlap: orchionv1.ScheduleOverlap(s.Overlap + 1), Paused: s.Paused,
		Template: &orchionv1.JobTemplate{
			Name: s.Template.Name, Labels: s.Template.Labels, Spec: jobSpecToProto(&s.Template.Spec),
		},
		CreatedAt: timeToProto(s.CreatedAt), LastRunAt: timeToProto(s.LastRunAt), LastJobId: s.LastJobID,
		NextRunAt: timeToProto(s.NextRunAt()), Reason: s.Reason,
	}
}

func scheduleFromProto(req *orchionv1.PutScheduleRequest) (schedule.Schedule, error) {
	var none schedule.Schedule
	template := req.GetTemplate()
	if err := checkText("template.name", template.GetName(), maxJobName); err != nil {
		return none, err
	}
	if err := checkLabels("template.labels", template.GetLabels()); err != nil {
		return none, err
	}
	if len(template.GetLabels()) == maxLabels {
		return none, fault.BadField("template.labels", "has %d entries; at most %d are allowed, beside that with the schedule's name", maxLabels, maxLabels-1)
	}
	spec, err := jobSpecFromProto(template.GetSpec())
	if err != nil {
		return none, within("template.", err)
	}
	overlap := schedule.Allow
	switch req.GetOverlap() {
	case orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_UNSPECIFIED, orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_ALLOW:
	case orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_SKIP:
		overlap = schedule.Skip
	case orchionv1.ScheduleOverlap_SCHEDULE_OVERLAP_REPLACE:
		overlap = schedule.Replace
	default:
		return none, fault.BadField("overlap", "is %d; allowed are %s", req.GetOverlap(), allowed(orchionv1.ScheduleOverlap_value))
	}
	return schedule.Schedule{
		Name: req.GetName(), Cron: req.GetCron(), TimeZone: req.GetTimeZone(), Overlap: overlap, Paused: req.GetPaused(),
		Template: schedule.Template{Name: template.GetName(), Labels: template.GetLabels(), Spec: spec},
	}, nil
}

// within puts a prefix before the field that an error names.
func within(prefix string, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Field == "" {
		return err
	}
	inner := *f
	inner.Field = prefix + f.Field
	return &inner
}
