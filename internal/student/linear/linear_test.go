package linear_test

import (
	"testing"

	"tandem/internal/student/linear"
	"tandem/internal/student/studenttest"
)

func TestFamily(t *testing.T) { studenttest.Run(t, linear.Family{}) }
