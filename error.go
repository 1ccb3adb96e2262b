package tandem

import (
	"errors"
	"fmt"
)

// Code names a kind of failure. Codes are part of the HTTP API: clients may
// switch on them, so a code is never renamed.
type Code string

// The failures a caller can see.
const (
	InvalidRequest      Code = "invalid_request"      // malformed or incomplete; the message names the field
	UnsupportedModality Code = "unsupported_modality" // a part of a kind the task does not take
	InputTooLarge       Code = "input_too_large"      // over the task's or the server's limit
	NotFound            Code = "not_found"            // no such task, model, trace or version
	Unauthorized        Code = "unauthorized"         // credentials missing or wrong
	Conflict            Code = "conflict"             // the thing is not in a state that allows this
	TeacherUnavailable  Code = "teacher_unavailable"  // the large model refused, failed or answered garbage
	TeacherTimeout      Code = "teacher_timeout"      // the large model did not answer within the deadline
	Overloaded          Code = "overloaded"           // a bound was reached; try again later
	StorageFull         Code = "storage_full"         // the disk is full or read-only
	Internal            Code = "internal"             // a fault of tandem itself; details are in the log only
)

// HTTPStatus is the status of a response that reports the code, the same in
// every API of tandem: 500 for Internal and for codes it does not know.
func (c Code) HTTPStatus() int {
	switch c {
	case InvalidRequest, UnsupportedModality:
		return 400
	case Unauthorized:
		return 401
	case NotFound:
		return 404
	case Conflict:
		return 409
	case InputTooLarge:
		return 413
	case TeacherUnavailable:
		return 502
	case Overloaded:
		return 503
	case TeacherTimeout:
		return 504
	case StorageFull:
		return 507
	case Internal:
	}
	return 500
}

// Error is the one error type that crosses a border. Message is written for
// the person who has to act on it and never holds prompts, keys or causes;
// the cause is for logs and errors.Is.
type Error struct {
	Code    Code
	Message string
	Param   string // the request field at fault, "" when none
	Cause   error
}

// Error formats the code, the message and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error of the code with a formatted message and no cause;
// use the struct literal to attach one.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first Error in err's chain, Internal for any
// other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
