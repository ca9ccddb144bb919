// Package schedule submits jobs at times that a cron expression names.
//
// A tick is submitted under an idempotency key made of the schedule's name and
// its time, and how far a schedule has come is stored after that. So a tick
// makes one job, whenever the process ends in between. Of the ticks that were
// missed while nobody looked only the last is made up for.
package schedule

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"

	_ "time/tzdata" // for machines that have no database of time zones
)

// Overlap says what to do when a run is due and the one before has not ended.
// The zero value is Allow.
type Overlap int

// The policies.
const (
	// Allow: both run.
	Allow Overlap = iota
	// Skip: the new one does not take place.
	Skip
	// Replace: the old one is cancelled, and the new one begins when it has
	// ended.
	Replace
)

// Label is the label of a schedule's jobs, with the schedule's name.
const Label = "orchion/schedule"

// The limits on schedules.
const (
	MaxName = 63
	// maxSchedules bounds how many there are.
	maxSchedules = 10_000
	maxCron      = 256
	maxTimeZone  = 64
)

// Schedule is a job to submit again and again. It may be copied by assignment:
// what is behind its maps and pointers is not written to.
type Schedule struct {
	Name string
	// Cron has five fields (minute, hour, day of month, month, day of week) or
	// is @hourly, @daily, @weekly, @monthly or @yearly.
	Cron string
	// TimeZone is of the IANA database; empty: UTC.
	TimeZone string
	Overlap  Overlap
	// Paused: nothing is submitted, and the ticks meanwhile are not made up for.
	Paused   bool
	Template Template

	CreatedAt time.Time
	// Cursor is the last tick that was dealt with, or when the schedule began
	// to count.
	Cursor time.Time
	// Pending is a tick whose submission has begun; zero: none.
	Pending time.Time
	// LastRunAt and LastJobID are of the newest job; zero: none yet.
	LastRunAt time.Time
	LastJobID string
	// Reason says what came of the last tick when it made no job.
	Reason string
}

// Template is what is submitted.
type Template struct {
	Name   string            `json:"name,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Spec   job.Spec          `json:"spec"`
}

// WithoutContents is the schedule without what is in its job's input files, for
// lists and events.
func (s *Schedule) WithoutContents() *Schedule {
	light := *s
	j := job.Job{Spec: s.Template.Spec}
	light.Template.Spec = j.WithoutContents().Spec
	return &light
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// CheckName says what is wrong with the name of a schedule; field names it.
func CheckName(field, name string) error {
	if name == "" || len(name) > MaxName || !namePattern.MatchString(name) {
		return fault.BadField(field, "is %q; the name of a schedule is 1 to %d characters of a-z 0-9 -, starting with a letter or digit", shortened(name), MaxName)
	}
	return nil
}

// shortened keeps messages readable whatever was sent.
func shortened(text string) string {
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

// times are the ticks of a schedule.
type times struct {
	cron cron.Schedule
	zone *time.Location
}

const cronHelp = `write five fields (minute, hour, day of month, month, day of week), such as "30 3 * * 1-5", or @hourly, @daily, @weekly, @monthly or @yearly`

// parse reads when a schedule's ticks are.
func parse(text, zone string) (times, error) {
	var none times
	if len(text) > maxCron {
		return none, fault.BadField("cron", "has %d bytes; at most %d are allowed", len(text), maxCron)
	}
	// The parser would also take intervals, which have no times of their own,
	// and time zones, which stand elsewhere.
	if strings.HasPrefix(text, "@every") || strings.Contains(text, "TZ=") {
		return none, fault.BadField("cron", "is %q; %s; the time zone is a field of its own", shortened(text), cronHelp)
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(text)
	if err != nil {
		return none, fault.BadField("cron", "is %q: %v; %s", shortened(text), err, cronHelp)
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" || len(zone) > maxTimeZone {
		return none, fault.BadField("timeZone", "is %q; it must be a name of the IANA database, such as Europe/Oslo; empty means UTC", shortened(zone))
	}
	return times{parsed, location}, nil
}

// next is the first tick after a time; zero: there is none.
func (t times) next(after time.Time) time.Time {
	next := t.cron.Next(after.In(t.zone))
	if next.IsZero() {
		return time.Time{}
	}
	return next.UTC()
}

// MaxPreview is how many runs can be looked ahead.
const MaxPreview = 100

// Preview answers when a schedule with these times would submit after a time,
// the earliest first; fewer than count when no more come. Errors: Invalid,
// naming the field.
func Preview(cron, zone string, after time.Time, count int) ([]time.Time, error) {
	if count < 1 || count > MaxPreview {
		return nil, fault.BadField("count", "is %d; it must be between 1 and %d", count, MaxPreview)
	}
	ticks, err := parse(cron, zone)
	if err != nil {
		return nil, err
	}
	var runs []time.Time
	for tick := ticks.next(after); !tick.IsZero() && len(runs) < count; tick = ticks.next(tick) {
		runs = append(runs, tick)
	}
	if len(runs) == 0 {
		return nil, neverComes(cron)
	}
	return runs, nil
}

func neverComes(cron string) error {
	return fault.BadField("cron", "is %q, a time that never comes", cron)
}

// last is the last tick after one time and not after another; zero: there is
// none. It looks from the end, in steps that grow, so that it takes no longer
// after a year than after a day.
func (t times) last(after, until time.Time) time.Time {
	const day = 24 * time.Hour
	for _, back := range []time.Duration{time.Hour, day, 32 * day, 366 * day, 0} {
		from := until.Add(-back)
		if back == 0 || from.Before(after) {
			from = after
		}
		var last time.Time
		for tick := t.next(from); !tick.IsZero() && !tick.After(until); tick = t.next(tick) {
			last = tick
		}
		if !last.IsZero() || !from.After(after) {
			return last
		}
	}
	return time.Time{}
}

// Validate says what is wrong with a schedule, naming the field.
func (s *Schedule) Validate() error {
	if err := CheckName("name", s.Name); err != nil {
		return err
	}
	ticks, err := parse(s.Cron, s.TimeZone)
	switch {
	case err != nil:
		return err
	case ticks.next(time.Now()).IsZero():
		return neverComes(s.Cron)
	case s.Overlap < Allow || s.Overlap > Replace:
		return fault.BadField("overlap", "is %d, which is no policy", s.Overlap)
	case !s.Template.Spec.StartAfter.IsZero():
		return fault.BadField("template.spec.startAfter", "is set; the schedule says when its jobs start")
	case len(s.Template.Spec.After) > 0:
		return fault.BadField("template.spec.after", "is set; a schedule's jobs can wait for no others")
	}
	return nil
}

// NextRunAt is when the schedule submits next; zero: it is paused, or never.
func (s *Schedule) NextRunAt() time.Time {
	ticks, err := parse(s.Cron, s.TimeZone)
	if err != nil || s.Paused {
		return time.Time{}
	}
	return ticks.next(s.Cursor)
}

// key is the idempotency key of a tick.
func (s *Schedule) key(tick time.Time) string {
	return "schedule/" + s.Name + "/" + strconv.FormatInt(s.CreatedAt.UnixNano(), 36) + "/" + tick.UTC().Format(time.RFC3339)
}
