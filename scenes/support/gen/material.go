package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// material is everything written by hand, parsed.
type material struct {
	intents   []intent            // in order of traffic, desk.txt
	index     map[string]int      // intent name to position
	slots     map[string][]string // slots.txt; "name@after" replaces "name" after the change
	frames    map[string][]string // frames.txt: openers, closers, contexts, joiners
	ambiguous []ambiguity
}

// intent is one file of material/intents.
type intent struct {
	name        string
	description string
	confused    []string // intents a tired reader would give instead
	after       bool     // does not exist before the change
	moved       string   // after the change its patterns belong to this intent
	share       float64  // fixed share of the traffic; 0 leaves it to the rank
	patterns    []string
	late        []string // patterns that exist only after the change
}

// ambiguity is a pattern that fits several intents. The first is the desk's
// own reading, the others are what another reader would say.
type ambiguity struct {
	intents []string
	pattern string
}

func readMaterial(dir fs.FS) (*material, error) {
	m := &material{index: map[string]int{}}
	var err error
	if m.slots, err = readSections(dir, "slots.txt"); err != nil {
		return nil, err
	}
	if m.frames, err = readSections(dir, "frames.txt"); err != nil {
		return nil, err
	}
	names, err := readLines(dir, "desk.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		in, err := readIntent(dir, name)
		if err != nil {
			return nil, err
		}
		if _, twice := m.index[name]; twice {
			return nil, fmt.Errorf("desk.txt: %s is listed twice", name)
		}
		m.index[name] = len(m.intents)
		m.intents = append(m.intents, in)
	}
	lines, err := readLines(dir, "ambiguous.txt")
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		labels, pattern, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fmt.Errorf("ambiguous.txt: no \": \" in %q", line)
		}
		m.ambiguous = append(m.ambiguous, ambiguity{strings.Split(labels, "|"), pattern})
	}
	if err := m.check(dir); err != nil {
		return nil, err
	}
	return m, nil
}

func readIntent(dir fs.FS, name string) (intent, error) {
	in := intent{name: name}
	file := path.Join("intents", name+".txt")
	lines, err := readLines(dir, file)
	if err != nil {
		return in, err
	}
	late := false
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "description":
			in.description = value
		case "confused":
			in.confused = strings.Split(value, ", ")
		case "since":
			in.after = value == "after"
		case "moved":
			in.moved = value
		case "share":
			if in.share, err = strconv.ParseFloat(value, 64); err != nil {
				return in, fmt.Errorf("%s: share: %w", file, err)
			}
		default:
			switch {
			case line == "@after":
				late = true
			case late:
				in.late = append(in.late, line)
			default:
				in.patterns = append(in.patterns, line)
			}
		}
	}
	if in.description == "" {
		return in, fmt.Errorf("%s: no description", file)
	}
	return in, nil
}

// readLines gives the lines of a file without comments and blank lines.
func readLines(dir fs.FS, name string) ([]string, error) {
	raw, err := fs.ReadFile(dir, name)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// readSections reads a file of "[name]" headings, each followed by entries.
func readSections(dir fs.FS, name string) (map[string][]string, error) {
	lines, err := readLines(dir, name)
	if err != nil {
		return nil, err
	}
	sections := map[string][]string{}
	section := ""
	for _, line := range lines {
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		if section == "" {
			return nil, fmt.Errorf("%s: %q stands before the first heading", name, line)
		}
		sections[section] = append(sections[section], line)
	}
	return sections, nil
}

// check finds references to intents and files that do not exist, and patterns
// that cannot be expanded, all at once.
func (m *material) check(dir fs.FS) error {
	var faults []error
	known := func(where, name string) {
		if _, ok := m.index[name]; !ok {
			faults = append(faults, fmt.Errorf("%s: unknown intent %q", where, name))
		}
	}
	try := func(where, pattern string) {
		for _, after := range []bool{false, true} {
			w := &writer{m: m, rng: newRand("check", pattern), after: after}
			if _, err := w.expand(strings.TrimPrefix(pattern, "=")); err != nil {
				faults = append(faults, fmt.Errorf("%s: %q: %w", where, pattern, err))
				return
			}
		}
	}
	for _, in := range m.intents {
		for _, c := range in.confused {
			known(in.name, c)
		}
		if in.moved != "" {
			known(in.name, in.moved)
		}
		for _, p := range append(in.patterns, in.late...) {
			try(in.name, p)
		}
	}
	for _, a := range m.ambiguous {
		for _, name := range a.intents {
			known("ambiguous.txt", name)
		}
		try("ambiguous.txt", a.pattern)
	}
	files, err := fs.Glob(dir, "intents/*.txt")
	if err != nil {
		return err
	}
	for _, f := range files {
		known("desk.txt does not list "+f, strings.TrimSuffix(path.Base(f), ".txt"))
	}
	return errors.Join(faults...)
}
