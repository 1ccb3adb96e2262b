package provider

import "tandem"

// EventWriter makes a well-formed sequence of events of what decoders find:
// blocks are opened and closed as the text changes its kind.
type EventWriter struct {
	Events []Event
	began  bool
	open   bool
	kind   BlockKind
}

// Begin announces the reply, once.
func (w *EventWriter) Begin(id, model string, u tandem.Usage) {
	if !w.began {
		w.began = true
		w.Events = append(w.Events, Event{Kind: Began, ID: id, Model: model, Usage: u})
	}
}

// Open opens a block.
func (w *EventWriter) Open(b Block) {
	w.Begin("", "", tandem.Usage{})
	w.Close()
	w.open, w.kind = true, b.Kind
	w.Events = append(w.Events, Event{Kind: Opened, Block: b})
}

// Grow adds text to the open block; one of the kind is opened if need be.
func (w *EventWriter) Grow(kind BlockKind, delta string) {
	if delta == "" {
		return
	}
	if !w.open || w.kind != kind {
		w.Open(Block{Kind: kind})
	}
	w.Events = append(w.Events, Event{Kind: Grew, Delta: delta})
}

// Sign adds a signature to the open block, if there is one.
func (w *EventWriter) Sign(signature string) {
	if signature != "" && w.open {
		w.Events = append(w.Events, Event{Kind: Signed, Delta: signature})
	}
}

// Close closes the open block.
func (w *EventWriter) Close() {
	if w.open {
		w.open = false
		w.Events = append(w.Events, Event{Kind: Closed})
	}
}

// End ends the reply.
func (w *EventWriter) End(stop StopReason, hit string, u tandem.Usage) {
	w.Begin("", "", tandem.Usage{})
	w.Close()
	w.Events = append(w.Events, Event{Kind: Ended, Stop: stop, Hit: hit, Usage: u})
}
