package tandem_test

import "testing"

// This file is the map of the house: where every package lies, what it may
// import, and how large things grow before somebody has to think. The checker
// behind it is in arch_check_test.go. A failing rule names itself and says how
// to mend the code; where the code is right and the rule is not, change the
// line here and give the reason beside it.

// The layers, lowest first. A package imports only what lies below its own
// layer, with the exceptions its room spells out.
const (
	words    layer = iota // the vocabulary and numeric kernels
	logic                 // pure logic, and the contracts of plug-ins
	work                  // use cases and adapters, which never import one another
	suites                // conformance suites, for tests only
	tables                // visible tables of plug-ins, configuration, benchmarks, scenes
	commands              // programs, where everything is joined
)

// rooms says where packages lie. The longest matching path counts; a "*"
// stands for one folder and everything below it, and packages of one room may
// import each other.
var rooms = []room{
	{path: ".", layer: words, pure: true, only: []string{}, outside: []string{}},
	{path: "internal/kernel", layer: words, pure: true, only: []string{}, outside: []string{"golang.org/x/sys/cpu"}},

	{path: "internal/certify", layer: logic, pure: true, only: []string{"."}, outside: []string{}},
	{path: "internal/feature/*", layer: logic, pure: true, outside: []string{}},
	{path: "internal/feature/encoder", layer: logic, also: []string{"internal/feature/wordpiece"}, outside: []string{}}, // reads models from their folders
	{path: "internal/student", layer: logic, outside: []string{}},
	{path: "internal/provider", layer: logic, outside: []string{}},
	{path: "internal/store", layer: logic, only: []string{"."}, outside: []string{}},

	// Use cases.
	{path: "internal/cascade", layer: work},
	{path: "internal/trace", layer: work},
	{path: "internal/distill", layer: work},
	{path: "internal/registry", layer: work},
	{path: "internal/lifecycle", layer: work, only: []string{"."}},
	{path: "internal/weights", layer: work, only: []string{"."}, outside: []string{}},
	// Adapters.
	{path: "client", layer: work, only: []string{"."}, outside: []string{}},
	{path: "internal/gateway", layer: work},
	{path: "internal/console", layer: work},
	{path: "internal/telemetry", layer: work},
	{path: "internal/student/*", layer: work},
	{path: "internal/provider/*", layer: work},
	{path: "internal/store/*", layer: work},

	{path: "internal/student/studenttest", layer: suites},
	{path: "internal/provider/providertest", layer: suites},
	{path: "internal/store/storetest", layer: suites},

	{path: "internal/student/all", layer: tables},
	{path: "internal/provider/all", layer: tables},
	{path: "internal/config", layer: tables, also: []string{"internal/provider/all", "internal/student/all"}},
	{path: "examples", layer: tables},
	{path: "scenes/*", layer: tables},
	{path: "bench", layer: tables, also: benchmarks},
	{path: "bench/*", layer: tables, also: benchmarks},
	{path: "docs/*", layer: tables, only: []string{}}, // generators of pictures and pages

	{path: "cmd/*", layer: commands},
}

// benchmarks measure the product, so they may use all of it but the program.
var benchmarks = []string{"internal/provider/all", "internal/student/all", "internal/config", "scenes/*", "bench", "bench/*"}

// homes says where a third-party module may be imported outside tests, so that
// replacing one stays a change in one place; no home means tests only. A module
// that is not listed may be imported wherever the room allows modules at all.
var homes = map[string][]string{
	"github.com/alecthomas/kong":            {"cmd/*"},
	"github.com/fsnotify/fsnotify":          {"internal/config", "cmd/*"},
	"github.com/goccy/go-yaml":              {"internal/config"},
	"github.com/invopop/jsonschema":         {"internal/config"},
	"github.com/pressly/goose":              {"internal/store/*"},
	"github.com/prometheus/client_golang":   {"internal/telemetry"},
	"github.com/rogpeppe/go-internal":       {},
	"github.com/santhosh-tekuri/jsonschema": {"internal/config"},
	"github.com/vbauerster/mpb":             {"cmd/*"},
	"go.uber.org/goleak":                    {},
	"golang.org/x/sys":                      {"internal/kernel", "internal/store/*", "cmd/*"},
	"golang.org/x/term":                     {"cmd/*"},
	"modernc.org/sqlite":                    {"internal/store/*"},
}

// budgets are judgement calls near the 95th percentile of code bases we like.
var budgets = limits{
	fileLines:      600, // non-test, not generated
	functionLines:  100, // non-test, not generated
	interfaceParts: 5,   // methods and embedded interfaces
	structFields:   24,
	directModules:  18,
	modulesDoc:     "docs/dependencies.md", // a line of reason for each direct module
	larger: map[string]string{
		".Trace":                  "one row of the learning log: splitting it would split every query, format and migration",
		"internal/store.Store":    "a whole database; only wire.go and the conformance suite see it so",
		"internal/store.Students": "a table with its artefacts; every caller declares the few methods it needs",
		"bench.OffloadResult":     "one line of results with every parameter in it, for plots and tables",
		"bench.DriftResult":       "the same",
		"bench.StreamResult":      "the same",
		"bench/demo.Result":       "the line that ends the demo, the same",
	},
}

func TestHouse(t *testing.T) {
	t.Parallel()
	h, err := openHouse(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(h.packages) < 4 {
		t.Fatalf("only %d packages found; the checker is not looking at the module", len(h.packages))
	}
	for _, v := range h.check(rooms, homes, budgets) {
		t.Error(v)
	}
}
