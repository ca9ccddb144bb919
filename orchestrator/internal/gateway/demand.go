package gateway

import (
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

const (
	// demandPause lies between two times that the demand for a model is told.
	demandPause = 500 * time.Millisecond
	// maxIdleDemands is how many models that nobody asks for are remembered.
	maxIdleDemands = 1024
)

// demandMeter counts the requests for each model and tells of them: at once
// when a model was quiet, otherwise at a pace, and always how it ended.
type demandMeter struct {
	tell func(name string, d model.Demand) // must not block; nil: nobody is told

	mu     sync.Mutex // guards what follows
	models map[string]*modelDemand
	closed bool
}

type modelDemand struct {
	model.Demand
	toldAt time.Time
	timer  *time.Timer // runs while there is something to tell; nil: not yet made
	due    bool        // the timer runs
}

func newDemandMeter(tell func(string, model.Demand)) *demandMeter {
	return &demandMeter{tell: tell, models: make(map[string]*modelDemand)}
}

// used notes that somebody asked for a model that cannot answer yet.
func (m *demandMeter) used(name string) { m.count(name, 0, 0) }

// begin and end enclose a request that a model answers.
func (m *demandMeter) begin(name string) { m.count(name, 0, 1) }
func (m *demandMeter) end(name string)   { m.count(name, 0, -1) }

// count adds to the requests that wait and that are being answered.
func (m *demandMeter) count(name string, queued, inFlight int) {
	if m.tell == nil {
		return
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	d := m.models[name]
	if d == nil {
		if len(m.models) >= maxIdleDemands {
			m.forgetIdleLocked()
		}
		d = &modelDemand{}
		m.models[name] = d
	}
	d.Queued += queued
	d.InFlight += inFlight
	d.LastUsed = now
	switch wait := demandPause - now.Sub(d.toldAt); {
	case d.due:
	case wait <= 0:
		d.toldAt = now
		m.tell(name, d.Demand)
	case d.timer == nil:
		d.due = true
		d.timer = time.AfterFunc(wait, func() { m.tellLater(name) })
	default:
		d.due = true
		d.timer.Reset(wait)
	}
}

func (m *demandMeter) tellLater(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.models[name]; d != nil && d.due && !m.closed {
		d.due = false
		d.toldAt = time.Now()
		m.tell(name, d.Demand)
	}
}

// forgetIdleLocked drops models that nobody asks for now.
func (m *demandMeter) forgetIdleLocked() {
	for name, d := range m.models {
		if !d.due && d.InFlight == 0 && d.Queued == 0 {
			delete(m.models, name)
		}
	}
}

// close ends telling.
func (m *demandMeter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, d := range m.models {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
}
