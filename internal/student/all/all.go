// Package all is the table of the families this program can train and load.
package all

import (
	"errors"

	"tandem/internal/student"
	"tandem/internal/student/encoder"
	"tandem/internal/student/linear"
	"tandem/internal/student/nearest"
)

// Families lists every family by its name. Those on an encoder are in the
// list and say that they have none.
func Families() map[string]student.Family {
	return With(nil, errors.New("no encoder is installed; the families on n-grams work without one"))
}

// Default names the families that a task uses unless it says otherwise. A
// network on embeddings takes several times as long to train as everything
// else and has not been found to add to the others (docs/benchmarks.md), so it
// is there to be named.
func Default() []string {
	return []string{encoder.LinearName, encoder.NearestName, "linear", "nearest"}
}

// With is Families with an encoder; e is nil when there is none, and absent
// says why.
func With(e encoder.Embedder, absent error) map[string]student.Family {
	table := map[string]student.Family{
		"linear":  linear.Family{},
		"nearest": nearest.Family{},
	}
	for _, f := range encoder.New(e, absent) {
		table[f.Name()] = f
	}
	return table
}
