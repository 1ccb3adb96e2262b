// Package all is the table of the families this program can train and load.
package all

import (
	"tandem/internal/student"
	"tandem/internal/student/linear"
	"tandem/internal/student/nearest"
)

// Families lists every family by its name.
func Families() map[string]student.Family {
	return map[string]student.Family{
		"linear":  linear.Family{},
		"nearest": nearest.Family{},
	}
}
