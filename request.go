package tandem

// Request asks a task about one input.
type Request struct {
	Task  string
	Input Input
	// Session groups requests that must share one side of the train/certify
	// split (a conversation, a user); it is stored only as a keyed hash.
	Session string
	// Teacher forces the last step: the caller wants the large model.
	Teacher bool
}

// Feedback is the truth about an answered request, told by the caller.
type Feedback struct {
	Label   string `json:"label"`             // the right answer, a label of the task
	Comment string `json:"comment,omitempty"` // kept beside it
}
