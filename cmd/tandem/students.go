package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"tandem"
	"tandem/internal/console"
)

type studentsCmd struct {
	List     studentsListCmd     `cmd:"" help:"List the versions of a task's student."`
	Show     studentsShowCmd     `cmd:"" help:"Show one version and its certificate."`
	Train    studentsTrainCmd    `cmd:"" help:"Train a new version now."`
	Promote  studentsPromoteCmd  `cmd:"" help:"Let a certified version serve."`
	Rollback studentsRollbackCmd `cmd:"" help:"Let the previous version serve again, or the teacher alone."`
}

// taskFlags are of every command about a task's students.
type taskFlags struct {
	deskFlags
	jsonFlag
	Task string `arg:"" help:"Name of the task."`
}

// path is where the console has the task.
func (f *taskFlags) path(below string) string { return "/api/tasks/" + url.PathEscape(f.Task) + below }

// students asks for the versions of the task's student, and for the families
// it has to do without.
func (f *taskFlags) students(ctx context.Context, sys system) (list []console.Student, absent map[string]string, err error) {
	var reply struct {
		Students []console.Student `json:"students"`
		Absent   map[string]string `json:"absent"`
	}
	err = f.at(ctx, sys, func(d *desk) error { return d.call(ctx, "GET", f.path("/students"), nil, &reply) })
	return reply.Students, reply.Absent, err
}

// versionArg names one of them.
type versionArg struct {
	Version string `arg:"" help:"Version, such as v3."`
}

type studentsListCmd struct{ taskFlags }

// Help implements kong.HelpProvider.
func (studentsListCmd) Help() string {
	return "Examples:\n  tandem students list support\n  tandem students list support --json"
}

// Run prints a line per version.
func (c *studentsListCmd) Run(ctx context.Context, sys system) error {
	list, absent, err := c.students(ctx, sys)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(sys.stdout, "%s has no students yet; the teacher answers everything\n", c.Task)
		return errors.Join(err, printAbsent(sys.stdout, absent))
	}
	rows := [][]string{{"VERSION", "STAGE", "CREATED (UTC)", "ROWS", "LABELS", "AGREES", "CERTIFICATE", "COVERS", "TRIGGER"}}
	for _, s := range list {
		state, covers := "–", "–"
		if s.Certificate != nil {
			state = string(s.Certificate.Status)
			if s.Certificate.Status != tandem.Refused {
				covers = percent(s.Certificate.Coverage)
			}
		}
		rows = append(rows, []string{
			s.Name, string(s.Stage), day(s.Created), thousands(s.Rows), thousands(s.Labels),
			percent(s.Agree), state, covers, s.Trigger,
		})
	}
	return errors.Join(table(sys.stdout, rows), printAbsent(sys.stdout, absent))
}

// printAbsent says which families are left out, those with the same reason
// together.
func printAbsent(w io.Writer, absent map[string]string) error {
	by := map[string][]string{}
	for name, why := range absent {
		by[why] = append(by[why], name)
	}
	for _, why := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[why])
		if _, err := fmt.Fprintf(w, "left out: %s: %s\n", strings.Join(by[why], ", "), why); err != nil {
			return err
		}
	}
	return nil
}

type studentsShowCmd struct {
	taskFlags
	versionArg
}

// Help implements kong.HelpProvider.
func (studentsShowCmd) Help() string {
	return "Examples:\n  tandem students show support v3\n  tandem students show support v3 --json"
}

// Run prints everything known about a version.
func (c *studentsShowCmd) Run(ctx context.Context, sys system) error {
	list, _, err := c.students(ctx, sys)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Name != c.Version {
			continue
		}
		if c.JSON {
			return printJSON(sys.stdout, s)
		}
		return printStudent(sys, s)
	}
	return tandem.Errorf(tandem.NotFound, "%s has no version %q; tandem students list %s shows them", c.Task, c.Version, c.Task)
}

func printStudent(sys system, s console.Student) error {
	rows := [][]string{
		{"version", s.Name},
		{"stage", string(s.Stage)},
		{"created", day(s.Created) + " UTC"},
		{"parent", orDash(s.Parent)},
		{"families", strings.Join(s.Families, ", ")},
		{"trained on", count(s.Rows, "row") + ", " + count(s.Labels, "label")},
		{"took", fmt.Sprintf("%.1f s", s.TrainSec)},
		{"agrees", percent(s.Agree) + " with the teacher, out of fold"},
		{"artefact", fmt.Sprintf("%s bytes, sha256 %s", thousands(int(s.Bytes)), s.Artefact)},
		{"trigger", s.Trigger},
		{"why", s.Why},
	}
	if c := s.Certificate; c != nil {
		rows = append(rows,
			[]string{"certificate", fmt.Sprintf("%d, %s", c.ID, c.Status)},
			[]string{"  promise", fmt.Sprintf("at most %s different from the teacher, wrong with probability %s", percent(c.Alpha), percent(c.Delta))},
			[]string{"  threshold", fmt.Sprintf("%.4f", c.Threshold)},
			[]string{"  covers", percent(c.Coverage) + " of traffic"},
			[]string{"  tested", fmt.Sprintf("%s, %s accepted, %s different (%s test, p = %.3g)", count(c.Rows, "row"), thousands(c.Accepted), thousands(c.Errors), c.Method, c.PValue)},
			[]string{"  in words", c.Why},
		)
	}
	return table(sys.stdout, rows)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

type studentsTrainCmd struct{ taskFlags }

// Help implements kong.HelpProvider.
func (studentsTrainCmd) Help() string {
	return "The running server trains from the traces it has, without waiting until they are enough more, certifies the new " +
		"version and lets it serve if it is better. The command does not wait: tandem events --follow shows how it ends. " +
		"To learn from a file instead, see tandem learn.\n\n" +
		"Examples:\n  tandem students train support\n  tandem students train support --json --server http://127.0.0.1:8080"
}

// Run asks for a training.
func (c *studentsTrainCmd) Run(ctx context.Context, sys system) error {
	var reply struct {
		Task    string `json:"task"`
		Started bool   `json:"started"`
	}
	err := c.at(ctx, sys, func(d *desk) error { return d.call(ctx, "POST", c.path("/learn"), nil, &reply) })
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, reply)
	}
	_, err = fmt.Fprintf(sys.stdout, "%s: the training begins; tandem events --task %s --follow shows how it ends\n", reply.Task, reply.Task)
	return err
}

// whyFlag is the reason that is kept with a change.
type whyFlag struct {
	Why string `help:"Reason, kept with the change."`
}

type studentsPromoteCmd struct {
	taskFlags
	whyFlag
	versionArg
}

// Help implements kong.HelpProvider.
func (studentsPromoteCmd) Help() string {
	return "Examples:\n  tandem students promote support v3 --why \"v4 was trained on the outage\""
}

// Run promotes a version.
func (c *studentsPromoteCmd) Run(ctx context.Context, sys system) error {
	return c.change(ctx, sys, "/students/"+url.PathEscape(c.Version)+"/promote", c.Why)
}

type studentsRollbackCmd struct {
	taskFlags
	whyFlag
}

// Help implements kong.HelpProvider.
func (studentsRollbackCmd) Help() string {
	return "Examples:\n  tandem students rollback support --why \"complaints since Tuesday\""
}

// Run rolls back.
func (c *studentsRollbackCmd) Run(ctx context.Context, sys system) error {
	return c.change(ctx, sys, "/rollback", c.Why)
}

// change makes a call that changes which version serves, and says what serves
// now.
func (f *taskFlags) change(ctx context.Context, sys system, below, why string) error {
	var reply console.Change
	err := f.at(ctx, sys, func(d *desk) error {
		return d.call(ctx, "POST", f.path(below), map[string]string{"why": why}, &reply)
	})
	if err != nil {
		return err
	}
	if f.JSON {
		return printJSON(sys.stdout, reply)
	}
	serves := reply.Serving + " serves what its certificate covers"
	if reply.Serving == "" {
		serves = "the teacher answers everything"
	}
	_, err = fmt.Fprintf(sys.stdout, "%s: %s (%s)\n", reply.Task, serves, reply.Event.Why)
	return err
}
