package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"tandem"
	"tandem/internal/console"
)

type studentsCmd struct {
	List     studentsListCmd     `cmd:"" help:"List the versions of a task's student."`
	Show     studentsShowCmd     `cmd:"" help:"Show one version and its certificate."`
	Promote  studentsPromoteCmd  `cmd:"" help:"Let a certified version serve."`
	Rollback studentsRollbackCmd `cmd:"" help:"Let the previous version serve again, or the teacher alone."`
}

type studentsListCmd struct {
	deskFlags
	jsonFlag
	Task string `arg:"" help:"Name of the task."`
}

// Help implements kong.HelpProvider.
func (studentsListCmd) Help() string {
	return "Examples:\n  tandem students list support\n  tandem students list support --json"
}

func students(ctx context.Context, d *desk, task string) ([]console.Student, error) {
	var reply struct {
		Students []console.Student `json:"students"`
	}
	err := d.call(ctx, "GET", "/api/tasks/"+url.PathEscape(task)+"/students", nil, &reply)
	return reply.Students, err
}

// Run prints a line per version.
func (c *studentsListCmd) Run(ctx context.Context, sys system) (err error) {
	d, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	defer closing(d.close, &err)
	list, err := students(ctx, d, c.Task)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(sys.stdout, "%s has no students yet; the teacher answers everything\n", c.Task)
		return err
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
	return table(sys.stdout, rows)
}

type studentsShowCmd struct {
	deskFlags
	jsonFlag
	Task    string `arg:"" help:"Name of the task."`
	Version string `arg:"" help:"Version, such as v3."`
}

// Help implements kong.HelpProvider.
func (studentsShowCmd) Help() string {
	return "Examples:\n  tandem students show support v3\n  tandem students show support v3 --json"
}

// Run prints everything known about a version.
func (c *studentsShowCmd) Run(ctx context.Context, sys system) (err error) {
	d, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	defer closing(d.close, &err)
	list, err := students(ctx, d, c.Task)
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

// whyFlag is the reason that is kept with a change.
type whyFlag struct {
	Why string `help:"Reason, kept with the change."`
}

type studentsPromoteCmd struct {
	deskFlags
	jsonFlag
	whyFlag
	Task    string `arg:"" help:"Name of the task."`
	Version string `arg:"" help:"Version, such as v3."`
}

// Help implements kong.HelpProvider.
func (studentsPromoteCmd) Help() string {
	return "Examples:\n  tandem students promote support v3 --why \"v4 was trained on the outage\""
}

// Run promotes a version.
func (c *studentsPromoteCmd) Run(ctx context.Context, sys system) (err error) {
	d, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	defer closing(d.close, &err)
	path := "/api/tasks/" + url.PathEscape(c.Task) + "/students/" + url.PathEscape(c.Version) + "/promote"
	return c.change(ctx, sys, d, path, c.Why, c.JSON)
}

type studentsRollbackCmd struct {
	deskFlags
	jsonFlag
	whyFlag
	Task string `arg:"" help:"Name of the task."`
}

// Help implements kong.HelpProvider.
func (studentsRollbackCmd) Help() string {
	return "Examples:\n  tandem students rollback support --why \"complaints since Tuesday\""
}

// Run rolls back.
func (c *studentsRollbackCmd) Run(ctx context.Context, sys system) (err error) {
	d, err := c.open(ctx, sys)
	if err != nil {
		return err
	}
	defer closing(d.close, &err)
	return c.change(ctx, sys, d, "/api/tasks/"+url.PathEscape(c.Task)+"/rollback", c.Why, c.JSON)
}

// change makes a call that changes which version serves, and says what serves
// now.
func (f *deskFlags) change(ctx context.Context, sys system, d *desk, path, why string, asJSON bool) error {
	var reply console.Change
	if err := d.call(ctx, "POST", path, map[string]string{"why": why}, &reply); err != nil {
		return err
	}
	if asJSON {
		return printJSON(sys.stdout, reply)
	}
	serves := reply.Serving + " serves what its certificate covers"
	if reply.Serving == "" {
		serves = "the teacher answers everything"
	}
	_, err := fmt.Fprintf(sys.stdout, "%s: %s (%s)\n", reply.Task, serves, reply.Event.Why)
	return err
}
