// Package student holds the contract of trainable families and the student
// that tandem deploys: one or more members of different families whose
// outputs are turned into a label and a calibrated score.
package student

import (
	"context"

	"tandem"
)

// Example is one labelled row.
type Example struct {
	Input  tandem.Input
	Label  int     // index into Dataset.Labels
	Weight float32 // relative importance, > 0; 1 is ordinary
	Group  string  // rows of one group never straddle folds; "" stands alone
	// Soft is what the teacher thought of every label, as probabilities that
	// sum to 1; nil when it gave its answer only.
	Soft []float32
}

// Dataset is what a family learns from. Rows are in time order.
type Dataset struct {
	Labels []string
	Rows   []Example
	// Views is what the family's Prepare made of the rows, one for each; nil
	// when it has not been asked to.
	Views []View
}

// Options of a training run.
type Options struct {
	Seed    uint64
	Threads int // processors to use, at least 1
	// Quick asks for a cheaper training of nearly the same quality, for
	// members that are only needed to judge the method.
	Quick bool
	// Served, when set, estimates from the out-of-fold rows of a report what
	// share of the traffic a student would be certified to serve, in [0, 1].
	// Fit then keeps the members that serve most for what they cost; without
	// it, all of them in one stage.
	Served func(r *Report) float64
	// Progress, when set, is told how much of the work is done, in [0, 1],
	// from one goroutine at a time.
	Progress func(done float64)
}

// Family makes members of one kind.
type Family interface {
	// Name is the key in the configuration and in artefacts.
	Name() string
	// Fits says why the family cannot learn the task, or nil.
	Fits(task tandem.Task) error
	// Train learns from data. It returns ctx.Err() soon after ctx ends.
	// The same data, seed and any number of threads give the same member.
	Train(ctx context.Context, data Dataset, opt Options) (Member, error)
	// Load reads what Member.MarshalBinary wrote and refuses anything else
	// with an error, never a panic.
	Load(blob []byte) (Member, error)
}

// Member is a trained model of one family. It is immutable and safe for
// concurrent use; Predict allocates nothing after warm-up.
type Member interface {
	// Classes is the number of labels it was trained with.
	Classes() int
	// Predict fills out for the input. out.Probs has Classes entries and is
	// overwritten.
	Predict(in *tandem.Input, out *Output)
	// MarshalBinary encodes the member for its family's Load.
	MarshalBinary() ([]byte, error)
}

// View is what several members may read of one input, such as its hashed
// words. It is scratch: Fill overwrites it.
type View interface {
	Fill(in *tandem.Input)
}

// Viewer is a member that predicts from a view. Members of one student whose
// views have the same name share it, so that an input is read once.
type Viewer interface {
	Member
	// View names the view the member reads.
	View() string
	// NewView makes an empty one. Views of one name are interchangeable.
	NewView() View
	// PredictView is Predict for an input the view was filled with.
	PredictView(v View, out *Output)
}

// Preparer is a family whose members read a view that is costly to fill, such
// as the embedding of a text. Fit lets it read every row once and hands the
// views to all trainings and out-of-fold predictions; families whose views
// have the same name share them.
type Preparer interface {
	Family
	// View names the view its members read.
	View() string
	// Micros estimates what filling one view costs on one thread, for a text
	// of so many bytes.
	Micros(bytes float64) float64
	// Limit is how many rows are worth reading; more are not prepared.
	Limit() int
	// Prepare reads the rows and returns a filled view for each, which nobody
	// fills again. It returns ctx.Err() soon after ctx ends.
	Prepare(ctx context.Context, rows []Example, opt Options) ([]View, error)
}

// Starter is a family that can make a member before anything is labelled, from
// what a task says about its labels.
type Starter interface {
	Family
	// Start makes a member for task.Labels, in their order.
	Start(ctx context.Context, task tandem.Task) (Member, error)
}

// Output is what one member says about one input.
type Output struct {
	Probs   []float32 // per label, sums to 1 unless the member has no opinion (all 0)
	Novelty float32   // in [0, 1]: 1 is unlike anything seen; 0 when the family has no notion of it
	Unseen  float32   // in [0, 1]: share of features never seen in training
}

// Updater is a member that can learn from more rows without a full training.
type Updater interface {
	Member
	// Update returns a new member that has also seen rows; the receiver is
	// unchanged. Rows may only use labels the member knows.
	Update(rows []Example) (Member, error)
}

// Prediction is a student's answer.
type Prediction struct {
	Label int     // index into Student.Labels
	Score float64 // calibrated probability, in [0, 1], that the teacher says the same
}
