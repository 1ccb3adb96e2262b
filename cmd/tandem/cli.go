package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/weights"
)

// cli is the table of commands: one line and one file each.
type cli struct {
	Serve    serveCmd    `cmd:"" help:"Answer requests, learn and certify."`
	Check    checkCmd    `cmd:"" help:"Check the configuration, and the teachers with --online."`
	Ask      askCmd      `cmd:"" help:"Ask a task of a running tandem."`
	Tasks    tasksCmd    `cmd:"" help:"Show where each task stands."`
	Students studentsCmd `cmd:"" help:"Show, train, promote and roll back students."`
	Events   eventsCmd   `cmd:"" help:"Show what happened: trainings, promotions, alarms, reloads."`
	Traces   tracesCmd   `cmd:"" help:"Import and export what tandem learns from."`
	Learn    learnCmd    `cmd:"" help:"Turn a log of answers into a certified student."`
	Models   modelsCmd   `cmd:"" help:"Fetch pre-trained models that students build on."`
	Conf     configCmd   `cmd:"" name:"config" help:"Print the schema or an example of the configuration."`
	Demo     demoCmd     `cmd:"" help:"Watch tandem learn a support desk, without a key or an account."`
	Bench    benchCmd    `cmd:"" help:"Measure on recorded answers."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// Exit codes of the program.
const (
	exitOK      = 0
	exitFailure = 1 // the command was understood and failed
	exitUsage   = 2 // the command line is wrong
)

const about = "Small models in front of a large one: tandem learns from its answers, takes over what is easy, and keeps a statistical promise about it."

// fileFlag names the configuration.
type fileFlag struct {
	Config string `short:"c" default:"${config}" placeholder:"FILE" help:"Configuration file (default ${config}; or set TANDEM_CONFIG)."`
}

// jsonFlag asks for output that programs read.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON instead of text."`
}

// parser builds the command line. exit is told the status with which kong
// wants to end after printing help.
func parser(sys system, exit func(int)) (*kong.Kong, error) {
	file := sys.getenv("TANDEM_CONFIG")
	if file == "" {
		file = "tandem.yaml"
	}
	return kong.New(&cli{},
		kong.Name("tandem"), kong.Description(about),
		kong.Vars{"config": file, "hub": weights.DefaultHub},
		kong.Writers(sys.stdout, sys.stderr), kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.ValueFormatter(withDefault),
		kong.ShortUsageOnError(),
	)
}

// withDefault is the help of a flag with its default, where a placeholder
// stands in the default's usual place.
func withDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil || v.Flag.PlaceHolder == "" || !v.HasDefault || strings.Contains(help, "(default") {
		return help
	}
	return fmt.Sprintf("%s (default: %s).", strings.TrimSuffix(help, "."), v.Default)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, sys system) int {
	exited := -1
	k, err := parser(sys, func(code int) {
		if exited < 0 {
			exited = code
		}
	})
	if err != nil {
		fmt.Fprintln(sys.stderr, "tandem:", err)
		return exitFailure
	}
	args := sys.args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := k.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(sys.stderr, "tandem:", err)
		fmt.Fprintf(sys.stderr, "Try: %s --help\n", strings.Join(append([]string{"tandem"}, commandOf(err)...), " "))
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(sys); err != nil {
		return fail(sys, err)
	}
	return exitOK
}

// commandOf finds how far the arguments were understood.
func commandOf(err error) []string {
	e, ok := errors.AsType[*kong.ParseError](err)
	if !ok {
		return nil
	}
	var words []string
	for _, p := range e.Context.Path {
		if p.Command != nil {
			words = append(words, p.Command.Name)
		}
	}
	return words
}

// errUsage marks a command line that only the command itself can judge.
var errUsage = errors.New("usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// errSilent ends a command with exitFailure when it has said everything.
var errSilent = errors.New("failed")

// fail prints why a command failed and returns its exit code.
func fail(sys system, err error) int {
	paint := painterFor(sys, sys.stderr)
	switch faults, isConfig := errors.AsType[*config.Error](err); {
	case errors.Is(err, errSilent):
		return exitFailure
	case errors.Is(err, errUsage):
		fmt.Fprintln(sys.stderr, paint.bad("tandem:"), strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
		return exitUsage
	case isConfig:
		fmt.Fprintln(sys.stderr, faults)
		fmt.Fprintln(sys.stderr, paint.bad("tandem:"), count(len(faults.Faults), "fault"), "in", faults.File)
		return exitFailure
	}
	fmt.Fprintln(sys.stderr, paint.bad("tandem:"), messageOf(err))
	return exitFailure
}

// messageOf is an error without the code that programs read.
func messageOf(err error) string {
	e, ok := errors.AsType[*tandem.Error](err)
	switch {
	case !ok || e.Error() != err.Error(): // what wraps one says more
		return err.Error()
	case e.Cause != nil && e.Code != tandem.Conflict: // there the message says it all
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}
