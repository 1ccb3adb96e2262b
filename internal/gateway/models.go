package gateway

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"tandem"
)

// taskPrefix may stand before a task's name where a client or a model of the
// same name would be ambiguous.
const taskPrefix = "tandem/"

// task finds the task that a "model" names.
func (s *Server) task(model string) (*tandem.Task, bool) {
	return s.Directory.Task(strings.TrimPrefix(model, taskPrefix))
}

// listModels is GET /v1/models: tasks and provider models, in OpenAI's shape,
// or in Anthropic's when its client asks.
func (s *Server) listModels(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Anthropic-Version") != "" {
		sendJSON(w, appendMessagesModels(nil, slices.Concat(slices.Sorted(slices.Values(s.Directory.Tasks())), slices.Sorted(slices.Values(s.Directory.Models())))))
		return nil
	}
	b := []byte(`{"object":"list","data":[`)
	first := true
	add := func(names []string, owner string) {
		for _, name := range slices.Sorted(slices.Values(names)) {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = appendModel(b, name, owner)
		}
	}
	add(s.Directory.Tasks(), ownerTask)
	add(s.Directory.Models(), ownerProvider)
	sendJSON(w, append(b, ']', '}'))
	return nil
}

// appendMessagesModels lists names in Anthropic's shape, all on one page.
func appendMessagesModels(b []byte, names []string) []byte {
	b = append(b, `{"data":[`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"type":"model","id":`...)
		b = appendString(b, name)
		b = append(b, `,"display_name":`...)
		b = appendString(b, name)
		b = append(b, `,"created_at":"1970-01-01T00:00:00Z"}`...)
	}
	b = append(b, `],"has_more":false,"first_id":`...)
	if len(names) == 0 {
		return append(b, `null,"last_id":null}`...)
	}
	b = appendString(b, names[0])
	b = append(b, `,"last_id":`...)
	b = appendString(b, names[len(names)-1])
	return append(b, '}')
}

// Owners of models, by which a client can tell tasks from provider models.
const (
	ownerTask     = "tandem"
	ownerProvider = "provider"
)

// getModel is GET /v1/models/{id}. Names may hold slashes.
func (s *Server) getModel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("id")
	if t, ok := s.task(name); ok {
		sendJSON(w, appendModel(nil, t.Name, ownerTask))
		return nil
	}
	if _, _, ok := s.Directory.Model(name); ok {
		sendJSON(w, appendModel(nil, name, ownerProvider))
		return nil
	}
	return s.noModel(name)
}

func appendModel(b []byte, name, owner string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, name)
	b = append(b, `,"object":"model","created":0,"owned_by":"`...)
	b = append(b, owner...)
	return append(b, `"}`...)
}

// noModel says what there is instead.
func (s *Server) noModel(name string) error {
	e := tandem.Errorf(tandem.NotFound, "there is no task or model %q; there are %s", clip(name),
		listed(slices.Concat(s.Directory.Tasks(), s.Directory.Models())))
	e.Param = "model"
	return e
}

// explain adds what there is to the error about an unknown task.
func (s *Server) explain(err error, task string) error {
	if e, ok := errors.AsType[*tandem.Error](err); !ok || e.Code != tandem.NotFound {
		return err
	}
	if _, ok := s.Directory.Task(task); ok {
		return err
	}
	return tandem.Errorf(tandem.NotFound, "there is no task %q; there are %s", clip(task), listed(s.Directory.Tasks()))
}

// listed joins names, not too many of them.
func listed(names []string) string {
	const most = 20
	names = slices.Sorted(slices.Values(names))
	if len(names) == 0 {
		return "none yet: add one to the configuration"
	}
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + " and others (GET /v1/models)"
	}
	return strings.Join(names, ", ")
}
