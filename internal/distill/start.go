package distill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem"
	"tandem/internal/student"
)

// TriggerStart makes the first student of a task, before anything is labelled.
const TriggerStart Trigger = "start"

// startTime bounds making it; the labels of a task are few.
const startTime = time.Minute

// Start gives a task that has no student yet one made from its labels' names
// and descriptions alone, where a family can. It runs in shadow: it is seen
// beside the teacher from the first request on, and only a version that has
// learnt and is certified serves. The report has no version where there is
// nothing to do.
func (l *Learner) Start(ctx context.Context, name string) (Report, error) {
	l.busy.Lock()
	defer l.busy.Unlock()
	task, ok := l.opt.Task(name)
	if !ok {
		return Report{}, tandem.Errorf(tandem.NotFound, "there is no task %q", name)
	}
	rep := Report{Task: name, Trigger: TriggerStart}
	if l.opt.Live(name).Student != nil {
		rep.Why = "it has a student already"
		return rep, nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	families, absent := student.Fitting(l.opt.Families, *task)
	rep.Absent = absent
	began := l.opt.Now()
	s, err := student.Start(ctx, families, *task)
	if errors.Is(err, student.ErrNoStart) {
		rep.Why = err.Error()
		return rep, nil
	}
	if err != nil {
		return rep, fmt.Errorf("start %s: %w", name, err)
	}
	rep.Why = "runs in shadow: made from the names and descriptions of the labels alone; it serves nothing before a training and a certificate"
	blob, err := s.MarshalBinary()
	if err != nil {
		return rep, fmt.Errorf("encode student of %s: %w", name, err)
	}
	rep.Families, rep.Labels, rep.Bytes = s.Families(), len(task.Labels), len(blob)
	rep.TrainSec = l.opt.Now().Sub(began).Seconds()
	taken := began.UTC().Truncate(time.Microsecond)
	v, cert, err := l.opt.Registry.Put(ctx, tandem.Version{
		Task: name, Created: taken, Families: rep.Families, Labels: rep.Labels, Bytes: int64(rep.Bytes),
		Trigger: string(TriggerStart), TrainSec: rep.TrainSec, Why: rep.Why,
	}, blob, tandem.Certificate{
		Task: name, Time: taken, Status: tandem.Refused, Alpha: task.Guarantee.Alpha, Delta: task.Guarantee.Delta,
		PValue: 1, Needs: l.opt.FirstFit, Why: "not tested: nothing has been learnt yet",
	})
	if err != nil {
		return rep, fmt.Errorf("keep student of %s: %w", name, err)
	}
	rep.Version, rep.Certificate = v.Name, cert
	return rep, l.opt.Install(ctx, Installed{Task: name, Version: v.Name, Student: s, Certificate: cert})
}
