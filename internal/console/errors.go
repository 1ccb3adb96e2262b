package console

import (
	"errors"
	"net/http"

	"tandem"
)

// Failure is the body of a failed call.
type Failure struct {
	Error FailureDetail `json:"error"`
}

// FailureDetail is the code and the sentence of a failure.
type FailureDetail struct {
	Code    tandem.Code `json:"code"`
	Message string      `json:"message"`
	Param   string      `json:"param,omitempty"`
}

// fail answers with the error's code and message. What a caller must not see
// goes to the log.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*tandem.Error](err)
	if !ok {
		e = &tandem.Error{Code: tandem.Internal, Message: "tandem failed; its log says why", Cause: err}
	}
	if e.Code == tandem.Internal && r.Context().Err() == nil {
		c.Log.Error("console call failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, e.Code.HTTPStatus(), Failure{FailureDetail{Code: e.Code, Message: e.Message, Param: e.Param}})
}
