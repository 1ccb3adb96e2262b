package nearest_test

import (
	"testing"

	"tandem/internal/student/nearest"
	"tandem/internal/student/studenttest"
)

func TestFamily(t *testing.T) { studenttest.Run(t, nearest.Family{}) }
