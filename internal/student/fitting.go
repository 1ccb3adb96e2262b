package student

import (
	"errors"
	"maps"
	"slices"

	"tandem"
)

// Fitting picks the families of a table that a task names, all of them when it
// names none, and that can learn it. Of the others it says why they cannot.
func Fitting(table map[string]Family, task tandem.Task) (use []Family, absent map[string]string) {
	names := task.Families
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(table))
	}
	absent = map[string]string{}
	for _, name := range names {
		f, ok := table[name]
		if !ok {
			absent[name] = "there is no such family"
			continue
		}
		err := f.Fits(task)
		if err == nil {
			use = append(use, f)
			continue
		}
		absent[name] = err.Error()
		if e, ok := errors.AsType[*tandem.Error](err); ok {
			absent[name] = e.Message // the code is for programs
		}
	}
	return use, absent
}
