package tandem_test

import (
	"bufio"
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

type layer int

func (l layer) String() string {
	return [...]string{"words", "logic", "work", "suites", "tables", "commands"}[l]
}

// room is a place in the house.
type room struct {
	path    string
	layer   layer
	pure    bool     // no clock, log or I/O
	only    []string // when not nil, the only rooms of the module it may import
	also    []string // rooms it may import although they do not lie below
	outside []string // when not nil, the only third-party packages it may import
}

// limits are the budgets of the house.
type limits struct {
	fileLines, functionLines     int
	interfaceParts, structFields int
	directModules                int
	modulesDoc                   string
	larger                       map[string]string // "folder.Type": why it may be larger
}

// violation is a broken rule, with the way to mend it.
type violation struct{ where, what, rule, mend string }

func (v violation) String() string {
	return fmt.Sprintf("%s: %s\n\trule: %s\n\tmend: %s", v.where, v.what, v.rule, v.mend)
}

// house is the parsed source of a module.
type house struct {
	dir      string
	module   string
	modules  []string // direct requirements
	fset     *token.FileSet
	packages []*folder
}

// folder is one package, its tests included.
type folder struct {
	path  string // below the module, "." for the root
	files []*source
}

type source struct {
	*ast.File
	name      string // below the module
	lines     int
	test      bool
	generated bool
	built     bool // for this platform
}

// openHouse parses the Go files of the module in dir. Nested modules, testdata
// and hidden folders are not part of it.
func openHouse(dir string) (*house, error) {
	h := &house{dir: dir, fset: token.NewFileSet()}
	if err := h.readMod(); err != nil {
		return nil, err
	}
	folders := map[string]*folder{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (skipped(d.Name()) || exists(filepath.Join(p, "go.mod"))) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(rel) != ".go" || skipped(d.Name()) {
			return nil
		}
		src, err := h.parse(p, rel)
		if err != nil {
			return err
		}
		at := path.Dir(rel)
		if folders[at] == nil {
			folders[at] = &folder{path: at}
			h.packages = append(h.packages, folders[at])
		}
		folders[at].files = append(folders[at].files, src)
		return nil
	})
	return h, err
}

func skipped(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules"
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (h *house) parse(file, rel string) (*source, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := parser.ParseFile(h.fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	built, err := build.Default.MatchFile(filepath.Dir(file), filepath.Base(file))
	if err != nil {
		return nil, fmt.Errorf("read build constraints of %s: %w", rel, err)
	}
	return &source{
		File: f, name: rel,
		lines:     strings.Count(string(text), "\n"),
		test:      strings.HasSuffix(rel, "_test.go"),
		generated: ast.IsGenerated(f),
		built:     built,
	}, nil
}

// readMod reads the module's name and direct requirements from go.mod.
func (h *house) readMod() error {
	f, err := os.Open(filepath.Join(h.dir, "go.mod"))
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	block := ""
	for in.Scan() {
		line, comment, _ := strings.Cut(in.Text(), "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == ")":
			block = ""
		case len(words) == 2 && words[1] == "(":
			block = words[0]
		case words[0] == "module":
			h.module = words[1]
		case strings.Contains(comment, "indirect"):
		case block == "require":
			h.modules = append(h.modules, words[0])
		case words[0] == "require":
			h.modules = append(h.modules, words[1])
		}
	}
	if h.module == "" && in.Err() == nil {
		return fmt.Errorf("%s names no module", f.Name())
	}
	return in.Err()
}

// check holds every rule against the house and lists what breaks one.
func (h *house) check(rooms []room, homes map[string][]string, most limits) []violation {
	c := &checker{house: h, rooms: rooms, homes: homes, most: most}
	for _, p := range h.packages {
		c.place(p)
		c.names(p)
		for _, f := range p.files {
			c.imports(p, f)
			c.habits(p, f)
			c.size(p, f)
		}
		c.variables(p)
	}
	c.requirements()
	slices.SortStableFunc(c.found, func(a, b violation) int { return cmp.Compare(a.where, b.where) })
	return c.found
}

type checker struct {
	*house
	rooms []room
	homes map[string][]string
	most  limits
	found []violation
}

func (c *checker) broken(where, rule, mend, what string, args ...any) {
	c.found = append(c.found, violation{where: where, what: fmt.Sprintf(what, args...), rule: rule, mend: mend})
}

func (c *checker) at(pos token.Pos) string {
	p := c.fset.Position(pos)
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// roomOf is the room with the longest path that matches.
func (c *checker) roomOf(pkg string) *room {
	var best *room
	for i := range c.rooms {
		r := &c.rooms[i]
		if within(pkg, r.path) && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	return best
}

// within reports whether a package lies in a room's path.
func within(pkg, pattern string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(pkg, parent+"/")
	}
	return pkg == pattern
}

func withinAny(pkg string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(pkg, p) })
}

// cell narrows a "*" room to the one folder that matched: linear and nearest
// lie in the same room, yet are strangers.
func cell(pkg string, r *room) string {
	parent, ok := strings.CutSuffix(r.path, "/*")
	if !ok {
		return r.path
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(pkg, parent+"/"), "/")
	return parent + "/" + name
}

func (c *checker) place(p *folder) {
	if c.roomOf(p.path) == nil {
		c.broken(p.path, "every package has a room in the house",
			"put the code into an existing room, or add a line for it to rooms in arch_test.go and to ARCHITECTURE.md",
			"the package has no room")
	}
}

var grabBags = []string{"util", "utils", "common", "shared", "helper", "helpers", "manager", "managers"}

func (c *checker) names(p *folder) {
	name := strings.TrimSuffix(p.files[0].Name.Name, "_test")
	for _, word := range []string{path.Base(p.path), name} {
		if slices.Contains(grabBags, word) {
			c.broken(p.path, "no package is called util, common, shared, helper or manager",
				"name it after what it is about, or move each function to the package that uses it",
				"the package is called %q", word)
			return
		}
	}
}

func (c *checker) imports(p *folder, f *source) {
	for _, spec := range f.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		first, _, _ := strings.Cut(to, "/")
		switch {
		case to == "C":
			c.broken(c.at(spec.Pos()), "no cgo", "write it in Go or Go assembly, or run the C code as a separate program", `imports "C"`)
		case to == c.module:
			c.inner(p, f, spec, ".")
		case strings.HasPrefix(to, c.module+"/"):
			c.inner(p, f, spec, strings.TrimPrefix(to, c.module+"/"))
		case strings.Contains(first, "."):
			c.outer(p, f, spec, to)
		default:
			c.standard(p, f, spec, to)
		}
	}
}

// inner judges an import of one package of the module by another.
func (c *checker) inner(p *folder, f *source, spec *ast.ImportSpec, to string) {
	from, target := c.roomOf(p.path), c.roomOf(to)
	if from == nil || target == nil || to == p.path {
		return // place has said so
	}
	where := c.at(spec.Pos())
	switch {
	case target.layer == commands:
		c.broken(where, "nothing imports a program", "move what both need to a package below", "%s imports %s", p.path, to)
	case f.test:
		// A test may use the real thing, whatever room it lies in.
	case target.layer == suites:
		c.broken(where, "conformance suites are imported by tests only", "move the import to a _test.go file", "%s imports %s", p.path, to)
	case cell(p.path, from) == cell(to, target):
		// One room, several folders.
	case withinAny(to, from.also):
	case from.only != nil && !withinAny(to, from.only):
		c.broken(where, fmt.Sprintf("%s imports of this module %s only", p.path, list(from.only)),
			"pass what it needs as a value, or move the code that needs it up", "%s imports %s", p.path, to)
	case from.layer == suites && target.layer >= work:
		c.broken(where, "a conformance suite knows the contract, not its implementations",
			"take the implementation as an argument", "%s imports %s", p.path, to)
	case from.layer == work && target.layer == work:
		c.broken(where, "use cases and adapters never import one another",
			"declare in "+p.path+" the small interface it needs and join the two in cmd/tandem/wire.go", "%s imports %s", p.path, to)
	case target.layer >= from.layer:
		c.broken(where, "a package imports only what lies below it",
			"move the shared part down, or turn the import round with a small interface in "+p.path,
			"%s (%v) imports %s (%v)", p.path, from.layer, to, target.layer)
	}
}

func list(paths []string) string {
	if len(paths) == 0 {
		return "nothing"
	}
	names := slices.Clone(paths)
	for i := range names {
		if names[i] == "." {
			names[i] = "the root package"
		}
	}
	return strings.Join(names, ", ")
}

// outer judges an import of a third-party package.
func (c *checker) outer(p *folder, f *source, spec *ast.ImportSpec, to string) {
	from := c.roomOf(p.path)
	if f.test || from == nil {
		return
	}
	if from.outside != nil && !slices.Contains(from.outside, to) {
		c.broken(c.at(spec.Pos()), "vocabulary, kernels, pure logic and contracts use the standard library only",
			"move the code that needs the module to an adapter", "%s imports %s", p.path, to)
		return
	}
	for module, allowed := range c.homes {
		if (to == module || strings.HasPrefix(to, module+"/")) && !withinAny(p.path, allowed) {
			c.broken(c.at(spec.Pos()), "a third-party module has one home",
				"go through the package that owns it; its home is in homes in arch_test.go", "%s imports %s", p.path, to)
		}
	}
}

var impure = []string{"log", "log/slog", "os", "os/exec", "net", "net/http", "database/sql", "math/rand"}

// standard judges an import of the standard library.
func (c *checker) standard(p *folder, f *source, spec *ast.ImportSpec, to string) {
	from := c.roomOf(p.path)
	if f.test || from == nil {
		return
	}
	if from.pure && slices.Contains(impure, to) {
		c.broken(c.at(spec.Pos()), "decide purely, act elsewhere: no clock, log or I/O here",
			"take a value as an argument and return one with a reason", "%s imports %s", p.path, to)
	}
	if from.layer != commands && f.Name.Name != "main" && (to == "flag" || to == "os/signal") {
		c.broken(c.at(spec.Pos()), "only programs read flags, the environment and signals",
			"take the value or the context as an argument", "%s imports %s", p.path, to)
	}
}

// habits looks for code the house does not want.
func (c *checker) habits(p *folder, f *source) {
	r := c.roomOf(p.path)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.broken(c.at(fn.Pos()), "no init functions", "register in a visible table; make other start-up work a call from main", "func init")
		}
	}
	if f.test || r == nil {
		return
	}
	osName, timeName := importName(f, "os"), importName(f, "time")
	ast.Inspect(f.File, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch sel.Sel.Name {
		case "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Args":
			if x.Name == osName && r.layer != commands && f.Name.Name != "main" {
				c.broken(c.at(sel.Pos()), "only programs read flags, the environment and signals",
					"take the value, or a getenv function, as an argument", "os.%s", sel.Sel.Name)
			}
		case "Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker":
			if x.Name == timeName && r.pure {
				c.broken(c.at(sel.Pos()), "decide purely, act elsewhere: no clock, log or I/O here",
					"take the time as an argument", "time.%s", sel.Sel.Name)
			}
		}
		return true
	})
}

// importName is what a file calls an import, "" when it does not have it.
func importName(f *source, pkg string) string {
	for _, spec := range f.Imports {
		if spec.Path.Value != strconv.Quote(pkg) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

func (c *checker) lines(n ast.Node) int {
	return c.fset.Position(n.End()).Line - c.fset.Position(n.Pos()).Line + 1
}

// size holds files, functions, interfaces and structs against the budgets.
func (c *checker) size(p *folder, f *source) {
	if f.test || f.generated {
		return
	}
	const rule = "budgets are judgement calls, made on purpose"
	if f.lines > c.most.fileLines {
		c.broken(f.name, rule, "split it by noun: one file, one job", "the file has %d lines, budget %d", f.lines, c.most.fileLines)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && c.lines(fn) > c.most.functionLines {
			c.broken(c.at(fn.Pos()), rule, "name the steps and make them functions",
				"%s has %d lines, budget %d", fn.Name.Name, c.lines(fn), c.most.functionLines)
		}
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if c.most.larger[strings.TrimPrefix(p.path, ".")+"."+spec.Name.Name] != "" {
			return true
		}
		switch t := spec.Type.(type) {
		case *ast.InterfaceType:
			if n := t.Methods.NumFields(); n > c.most.interfaceParts {
				c.broken(c.at(spec.Pos()), rule, "split it by caller; let each caller declare what it needs, or add it to larger in arch_test.go with the reason",
					"interface %s has %d parts, budget %d", spec.Name.Name, n, c.most.interfaceParts)
			}
		case *ast.StructType:
			if n := t.Fields.NumFields(); n > c.most.structFields {
				c.broken(c.at(spec.Pos()), rule, "group fields that change together, or add it to larger in arch_test.go with the reason",
					"struct %s has %d fields, budget %d", spec.Name.Name, n, c.most.structFields)
			}
		}
		return true
	})
}

// variables looks for package state: an exported map, slice or channel that
// anybody can change, and assignments to package variables from functions.
func (c *checker) variables(p *folder) {
	var files []*ast.File
	generated := map[string]bool{}
	for _, f := range p.files {
		if !f.test && f.built {
			files = append(files, f.File)
			generated[f.name] = f.generated
		}
	}
	if len(files) == 0 {
		return
	}
	// Imports are left unresolved: the package's own names are all it takes.
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}, FakeImportC: true}
	pkg, _ := conf.Check(p.path, c.fset, files, info) // the error is about imports
	const rule = "no mutable package variables"
	for _, name := range pkg.Scope().Names() {
		v, ok := pkg.Scope().Lookup(name).(*types.Var)
		if !ok || !v.Exported() || generated[c.fset.Position(v.Pos()).Filename] {
			continue
		}
		switch v.Type().Underlying().(type) {
		case *types.Map, *types.Slice, *types.Chan:
			c.broken(c.at(v.Pos()), rule, "make it a function that returns a fresh value, or unexport it", "var %s can be changed by every importer", name)
		}
	}
	changed := func(e ast.Expr) {
		id := root(e)
		if id == nil {
			return
		}
		v, ok := info.Uses[id].(*types.Var)
		if ok && v.Parent() == pkg.Scope() && !generated[c.fset.Position(id.Pos()).Filename] {
			c.broken(c.at(id.Pos()), rule, "make it a field of a value that somebody owns", "%s is changed here", id.Name)
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						changed(e)
					}
				}
			case *ast.IncDecStmt:
				changed(n.X)
			case *ast.CallExpr:
				fn, ok := n.Fun.(*ast.Ident)
				if ok && len(n.Args) > 0 && (fn.Name == "delete" || fn.Name == "clear") {
					changed(n.Args[0])
				}
			}
			return true
		})
	}
}

// root is the variable an assignment reaches through fields and indices.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

type noImports struct{}

func (noImports) Import(p string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not needed", p)
}

// requirements holds go.mod against the budget and its document.
func (c *checker) requirements() {
	if n := len(c.modules); n > c.most.directModules {
		c.broken("go.mod", "few dependencies, each with a reason", "remove one, or take the smallest part you need into the code",
			"%d direct modules, budget %d", n, c.most.directModules)
	}
	if c.most.modulesDoc == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(c.most.modulesDoc)))
	if err != nil {
		c.broken(c.most.modulesDoc, "few dependencies, each with a reason", "write the file", "%v", err)
		return
	}
	for _, m := range c.modules {
		if !strings.Contains(string(text), "`"+m+"`") {
			c.broken("go.mod", "few dependencies, each with a reason", "add a line to "+c.most.modulesDoc, "%s has no reason", m)
		}
	}
	for _, row := range moduleRow.FindAllSubmatch(text, -1) {
		if m := string(row[1]); !slices.Contains(c.modules, m) {
			c.broken(c.most.modulesDoc, "few dependencies, each with a reason", "remove the line", "%s is not in go.mod", m)
		}
	}
}

// moduleRow is the line of one module in the document.
var moduleRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
