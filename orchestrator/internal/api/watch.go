package api

import (
	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// watch serves orchion.v1.Events.
type watch struct {
	orchionv1.UnimplementedEventsServer
	cfg *Config
}

// maxEventID bounds what is taken for an id.
const maxEventID = 64

func (s *watch) WatchEvents(req *orchionv1.WatchEventsRequest, stream grpc.ServerStreamingServer[orchionv1.Event]) error {
	if len(req.GetLastEventId()) > maxEventID {
		return fault.BadField("lastEventId", "has %d characters; at most %d are allowed", len(req.GetLastEventId()), maxEventID)
	}
	subscription := s.cfg.Events.Subscribe(req.GetLastEventId())
	defer subscription.Close()
	// Headers tell the caller that from here on nothing is missed.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		e, err := subscription.Next(stream.Context())
		if err != nil {
			return err
		}
		if err := stream.Send(s.cfg.eventToProto(&e)); err != nil {
			return err
		}
	}
}

func (c *Config) eventToProto(e *events.Event) *orchionv1.Event {
	out := &orchionv1.Event{Id: e.ID, Type: orchionv1.EventType(e.Type), Time: timeToProto(e.Time)}
	switch {
	case e.Node != nil:
		out.Object = &orchionv1.Event_Node{Node: c.nodeToProto(e.Node)}
	case e.Job != nil:
		out.Object = &orchionv1.Event_Job{Job: jobToProto(e.Job)}
	case e.Deployment != nil:
		out.Object = &orchionv1.Event_Deployment{Deployment: deploymentToProto(e.Deployment)}
	case e.Queue != nil:
		out.Object = &orchionv1.Event_Queue{Queue: queueToProto(e.Queue)}
	case e.Schedule != nil:
		out.Object = &orchionv1.Event_Schedule{Schedule: scheduleToProto(e.Schedule)}
	case e.Cluster:
		out.Object = &orchionv1.Event_Cluster{Cluster: c.cluster()}
	case e.Log != nil:
		out.Object = &orchionv1.Event_Log{Log: &orchionv1.LogProgress{
			JobId: e.Log.JobID, Attempt: int32(e.Log.Attempt),
			StdoutLines: e.Log.StdoutLines, StderrLines: e.Log.StderrLines,
		}}
	}
	return out
}

// eventName is the name of an event in a stream of Server-Sent Events.
func eventName(e *events.Event) string {
	switch {
	case e.Type == events.Reset:
		return "reset"
	case e.Node != nil:
		return "node"
	case e.Job != nil:
		return "job"
	case e.Deployment != nil:
		return "deployment"
	case e.Queue != nil:
		return "queue"
	case e.Schedule != nil:
		return "schedule"
	case e.Cluster:
		return "cluster"
	default:
		return "log"
	}
}
