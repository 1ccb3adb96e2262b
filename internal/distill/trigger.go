package distill

import (
	"time"
)

// Trigger is what caused a training.
type Trigger string

// The causes of a training.
const (
	TriggerGrowth Trigger = "growth"    // enough more labelled requests
	TriggerDrift  Trigger = "drift"     // an alarm, and enough labelled requests since
	TriggerLabel  Trigger = "new label" // the teacher uses a label the newest version does not know
	TriggerPerson Trigger = "person"    // somebody asked
)

// strangeRows is how often an unknown label must come before it is worth a
// training of its own.
const strangeRows = 10

// progress is how far a task's learning is. Counts are of labelled requests.
type progress struct {
	labelled    int
	sinceChange int // labelled when the traffic last changed
	lastFit     int // labelled since the change at the last training, 0: none since
	change      time.Time
	known       map[string]bool // labels of the newest version, nil before the first
	strange     map[string]int  // labels seen since that it does not know
	asked       bool            // a person wants a training, or has it
	begun       bool            // that training has begun
	serving     bool            // a certified student answered after the last training
	overtaken   func()          // ends the training under way, nil without one
}

// due decides whether to train now. It is pure. While nothing serves every
// request is a call to the teacher, so half the growth is enough; like all of
// it, that depends on no outcome as long as no certificate has been given.
func (p *progress) due(first int, growth float64) (Trigger, bool) {
	n := p.labelled - p.sinceChange
	if !p.serving {
		growth = 1 + (growth-1)/2
	}
	switch {
	case p.asked && !p.begun:
		return TriggerPerson, true
	case p.lastFit == 0 && n >= first && !p.change.IsZero():
		return TriggerDrift, true
	case p.lastFit == 0:
		return TriggerGrowth, n >= first
	case float64(n) >= growth*float64(p.lastFit):
		return TriggerGrowth, true
	}
	for _, count := range p.strange {
		if count >= strangeRows && float64(n) >= (1+(growth-1)/3)*float64(p.lastFit) {
			return TriggerLabel, true
		}
	}
	return "", false
}

// begin notes that a training starts with what is there now.
func (p *progress) begin() {
	p.lastFit, p.begun = max(1, p.labelled-p.sinceChange), true
	clear(p.strange)
}

// learnt sets the labels the newest version knows.
func (p *progress) learnt(labels []string) {
	if len(labels) == 0 {
		return
	}
	p.known = make(map[string]bool, len(labels))
	for _, l := range labels {
		p.known[l] = true
	}
	clear(p.strange)
}
