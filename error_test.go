package tandem_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tandem"
)

func TestError(t *testing.T) {
	t.Parallel()
	cause := context.DeadlineExceeded
	err := error(&tandem.Error{Code: tandem.TeacherTimeout, Message: "the teacher took over 30s", Cause: cause})
	if got, want := err.Error(), "teacher_timeout: the teacher took over 30s: context deadline exceeded"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is out of reach of errors.Is")
	}
	plain := tandem.Errorf(tandem.NotFound, "no task %q", "billing")
	if got, want := plain.Error(), `not_found: no task "billing"`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if plain.Unwrap() != nil {
		t.Error("an error without a cause unwraps to something")
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	missing := tandem.Errorf(tandem.NotFound, "no such task")
	for _, c := range []struct {
		name string
		err  error
		want tandem.Code
	}{
		{"no error", nil, ""},
		{"an Error", missing, tandem.NotFound},
		{"wrapped", fmt.Errorf("answer: %w", missing), tandem.NotFound},
		{"joined", errors.Join(errors.New("other"), missing), tandem.NotFound},
		{"the outer one wins", &tandem.Error{Code: tandem.Conflict, Cause: missing}, tandem.Conflict},
		{"foreign", errors.New("disk on fire"), tandem.Internal},
		{"cancelled", context.Canceled, tandem.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := tandem.CodeOf(c.err); got != c.want {
				t.Errorf("CodeOf = %q, want %q", got, c.want)
			}
		})
	}
}

func TestHTTPStatus(t *testing.T) {
	t.Parallel()
	for code, want := range map[tandem.Code]int{
		tandem.InvalidRequest: 400, tandem.UnsupportedModality: 400, tandem.Unauthorized: 401, tandem.NotFound: 404,
		tandem.Conflict: 409, tandem.InputTooLarge: 413, tandem.TeacherUnavailable: 502, tandem.Overloaded: 503,
		tandem.TeacherTimeout: 504, tandem.StorageFull: 507, tandem.Internal: 500, "from_a_newer_tandem": 500,
	} {
		if got := code.HTTPStatus(); got != want {
			t.Errorf("%s has the status %d, want %d", code, got, want)
		}
	}
}
