package dispatch

import "time"

// Resume ends the sparing of attempts whose leases ran out. fresh gives them a
// lease once more, for nodes that are about to come back; otherwise they are
// lost now. It does not block.
func (d *Dispatcher) Resume(fresh bool) {
	d.box.Post(func() { d.resume(fresh, time.Now()) })
}

func (d *Dispatcher) resume(fresh bool, now time.Time) {
	if d.spared == 0 {
		return
	}
	for _, a := range d.active {
		switch {
		case !a.spared:
		case fresh:
			d.renew(a, now)
		default:
			d.stats.expired.Add(1)
			d.lose(a, "its node is silent, and rescheduling is not paused any more")
		}
	}
}

// spare keeps an attempt whose lease ran out while work is not to be replaced.
func (d *Dispatcher) spare(a *attempt) {
	a.spared = true
	d.spared++
	d.cfg.Logger.Warn("lease ran out, and the attempt is kept: rescheduling is paused",
		"job", a.ref.JobID, "attempt", a.ref.Attempt, "node", a.nodeID)
	if !a.stopping() {
		a.job.Reason = sparedReason
	}
	d.tell(a)
}

const sparedReason = "its node is silent; it is not given to another while rescheduling is paused"

// unspare has an attempt count as spared no more.
func (d *Dispatcher) unspare(a *attempt) {
	if a.spared {
		a.spared = false
		d.spared--
	}
}

// heardOf notes that an attempt has a lease again.
func (d *Dispatcher) heardOf(a *attempt) {
	if !a.spared {
		return
	}
	d.unspare(a)
	if a.job.Reason == sparedReason {
		a.job.Reason = ""
	}
	d.tell(a)
}
