package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/store/sqlite/db"
)

// PutVersion stores a new version with its artefact and certificate. The
// bytes of the artefact are written first, in transactions of their own; the
// version, its certificate and the row that makes the artefact exist follow in
// one. A crash in between leaves loose bytes, never a version without them.
func (s *Store) PutVersion(ctx context.Context, v tandem.Version, artefact []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error) {
	none := func(err error) (tandem.Version, tandem.Certificate, error) {
		return tandem.Version{}, tandem.Certificate{}, err
	}
	if v.Task == "" {
		return none(tandem.Errorf(tandem.InvalidRequest, "a student version needs a task"))
	}
	if v.Stage == "" {
		v.Stage = tandem.Candidate
	}
	if !slices.Contains(stages(), v.Stage) {
		return none(tandem.Errorf(tandem.InvalidRequest, "%q is not a stage of a student version", v.Stage))
	}
	if !slices.Contains(statuses(), c.Status) {
		return none(tandem.Errorf(tandem.InvalidRequest, "%q is not a state of a certificate", c.Status))
	}
	if math.IsNaN(c.Threshold) || math.IsInf(c.Threshold, 0) {
		return none(tandem.Errorf(tandem.InvalidRequest, "the threshold of a certificate must be a number"))
	}
	families, err := json.Marshal(append([]string{}, v.Families...))
	if err != nil {
		return none(fmt.Errorf("encode families: %w", err))
	}
	s.artefacts.Lock()
	defer s.artefacts.Unlock()
	sum, err := s.stage(ctx, artefact)
	if err != nil {
		return none(s.fail("store an artefact", err))
	}
	v.Artefact, v.Bytes = sum, int64(len(artefact))
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		last, err := q.LastVersion(ctx, v.Task)
		if err != nil {
			return err
		}
		v.Name = "v" + strconv.FormatInt(last+1, 10)
		c.Task, c.Version = v.Task, v.Name
		if c.ID, err = q.NextNumber(ctx, "certificates"); err != nil {
			return err
		}
		err = q.AddArtefact(ctx, db.AddArtefactParams{
			Sha256: sum, Bytes: v.Bytes, Chunks: chunksOf(len(artefact)), CreatedUs: v.Created.UnixMicro(),
		})
		if err != nil {
			return err
		}
		err = q.AddVersion(ctx, db.AddVersionParams{
			Task: v.Task, Number: last + 1, Name: v.Name, Parent: v.Parent, Stage: string(v.Stage),
			CreatedUs: v.Created.UnixMicro(), Families: string(families), Labels: int64(v.Labels),
			TrainedRows: int64(v.Rows), Bytes: v.Bytes, Artefact: v.Artefact, CausedBy: v.Trigger,
			Agree: finite(v.Agree), TrainS: finite(v.TrainSec), Why: v.Why,
		})
		if err != nil {
			return err
		}
		return q.AddCertificate(ctx, encodeCertificate(&c))
	})
	if err != nil {
		return none(s.fail("store a student version", servingTwice(v.Task, err)))
	}
	return v, c, nil
}

// SetStages changes stages and certificate states and adds the event that
// explains them, all or nothing.
func (s *Store) SetStages(ctx context.Context, ch store.Change) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		// Whoever stops serving goes first: two must never serve.
		for _, serving := range []bool{false, true} {
			for name, stage := range ch.Stages {
				if (stage == tandem.Serving) != serving {
					continue
				}
				if !slices.Contains(stages(), stage) {
					return tandem.Errorf(tandem.InvalidRequest, "%q is not a stage of a student version", stage)
				}
				n, err := q.SetStage(ctx, db.SetStageParams{Stage: string(stage), Why: ch.Event.Why, Task: ch.Task, Name: name})
				if err != nil {
					return err
				}
				if n == 0 {
					return tandem.Errorf(tandem.NotFound, "task %s has no student version %s", shorten(ch.Task), shorten(name))
				}
			}
		}
		for id, status := range ch.Certificates {
			if !slices.Contains(statuses(), status) {
				return tandem.Errorf(tandem.InvalidRequest, "%q is not a state of a certificate", status)
			}
			n, err := q.SetCertificate(ctx, db.SetCertificateParams{Status: string(status), Task: ch.Task, ID: id})
			if err != nil {
				return err
			}
			if n == 0 {
				return tandem.Errorf(tandem.NotFound, "task %s has no certificate %d", shorten(ch.Task), id)
			}
		}
		e := ch.Event
		if e.Task == "" {
			e.Task = ch.Task
		}
		return addEvent(ctx, q, e)
	})
	return s.fail("change student stages", servingTwice(ch.Task, err))
}

// Versions lists a task's versions, oldest first.
func (s *Store) Versions(ctx context.Context, task string) ([]tandem.Version, error) {
	rows, err := s.read.Versions(ctx, task)
	if err != nil {
		return nil, s.fail("list student versions", err)
	}
	out := make([]tandem.Version, len(rows))
	for i, r := range rows {
		out[i] = tandem.Version{
			Name: r.Name, Task: r.Task, Parent: r.Parent, Stage: tandem.Stage(r.Stage), Created: fromMicros(r.CreatedUs),
			Labels: int(r.Labels), Rows: int(r.TrainedRows), Bytes: r.Bytes, Artefact: r.Artefact,
			Trigger: r.CausedBy, Agree: r.Agree, TrainSec: r.TrainS, Why: r.Why,
		}
		if err := json.Unmarshal([]byte(r.Families), &out[i].Families); err != nil {
			return nil, s.damaged(fmt.Errorf("families of %s %s: %w", r.Task, r.Name, err))
		}
	}
	return out, nil
}

// Certificates lists a task's certificates, oldest first.
func (s *Store) Certificates(ctx context.Context, task string) ([]tandem.Certificate, error) {
	rows, err := s.read.Certificates(ctx, task)
	if err != nil {
		return nil, s.fail("list certificates", err)
	}
	out := make([]tandem.Certificate, len(rows))
	for i, r := range rows {
		out[i] = tandem.Certificate{
			ID: r.ID, Task: r.Task, Version: r.Version, Time: fromMicros(r.TimeUs), Status: tandem.Status(r.Status),
			Threshold: r.Threshold, Alpha: r.Alpha, Delta: r.Delta, DeltaUsed: r.DeltaUsed, Look: int(r.Look),
			Method: r.Method, Rows: int(r.TestedRows), Accepted: int(r.Accepted), Errors: int(r.Errors),
			Coverage: r.Coverage, PValue: r.PValue, FromTrace: r.FromTrace, ToTrace: r.ToTrace,
			Needs: int(r.Needs), Budget: r.Budget, Why: r.Why,
		}
	}
	return out, nil
}

func encodeCertificate(c *tandem.Certificate) db.AddCertificateParams {
	p := c.PValue
	if math.IsNaN(p) {
		p = 1 // a test that could not be made proves nothing
	}
	return db.AddCertificateParams{
		ID: c.ID, Task: c.Task, Version: c.Version, TimeUs: c.Time.UnixMicro(), Status: string(c.Status),
		Threshold: c.Threshold, Alpha: finite(c.Alpha), Delta: finite(c.Delta), DeltaUsed: finite(c.DeltaUsed),
		Look: int64(c.Look), Method: c.Method, TestedRows: int64(c.Rows), Accepted: int64(c.Accepted),
		Errors: int64(c.Errors), Coverage: finite(c.Coverage), PValue: p, FromTrace: c.FromTrace, ToTrace: c.ToTrace,
		Needs: int64(c.Needs), Budget: finite(c.Budget), Why: c.Why,
	}
}

func stages() []tandem.Stage {
	return []tandem.Stage{tandem.Candidate, tandem.Shadow, tandem.Serving, tandem.Retired}
}

func statuses() []tandem.Status {
	return []tandem.Status{tandem.Valid, tandem.Refused, tandem.Withdrawn, tandem.Replaced}
}
