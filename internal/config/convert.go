package config

import (
	"maps"
	"slices"

	"tandem"
)

// TandemTasks returns the tasks in the words of the program, by name.
func (c *Config) TandemTasks() []tandem.Task {
	tasks := make([]tandem.Task, 0, len(c.Tasks))
	for _, name := range slices.Sorted(maps.Keys(c.Tasks)) {
		t := c.Tasks[name]
		tasks = append(tasks, t.Tandem(name, int(c.Limits.InputBytes)))
	}
	return tasks
}

// Tandem returns the task in the words of the program; inputBytes is the
// largest input it takes.
func (t *Task) Tandem(name string, inputBytes int) tandem.Task {
	out := tandem.Task{
		Name: name, Description: t.Description, Instructions: t.Instructions,
		MaxLabels: t.MaxLabels, NeverServe: slices.Clone(t.NeverServe),
		Teacher: t.Teacher, Families: slices.Clone(t.Families),
		Guarantee: tandem.Guarantee{Alpha: float64(t.Guarantee.Alpha), Delta: float64(t.Guarantee.Delta)},
		Fallback:  tandem.Fallback(t.Fallback), Deadline: t.Deadline, InputBytes: inputBytes,
		AuditRate: float64(t.AuditRate), RepeatRate: float64(t.RepeatRate),
		StoreInputs: t.StoreInputs, RetentionDays: t.RetentionDays,
	}
	for _, kind := range t.Takes {
		out.Takes = append(out.Takes, tandem.Kind(kind))
	}
	for _, l := range t.Labels {
		out.Labels = append(out.Labels, tandem.Label{Name: l.Name, Description: l.Description})
	}
	return out
}

// NamedModel is a provider's model under the alias that tasks and clients use.
type NamedModel struct {
	Alias    string
	Provider string // key in Providers
	Model    string // the provider's own name
	Price    tandem.Price
}

// Models lists the models of all providers, by alias. Aliases are unique.
func (c *Config) Models() []NamedModel {
	var models []NamedModel
	for provider, p := range c.Providers {
		for alias, m := range p.Models {
			name := m.Model
			if name == "" {
				name = alias
			}
			models = append(models, NamedModel{Alias: alias, Provider: provider, Model: name, Price: tandem.Price(m.Price)})
		}
	}
	slices.SortFunc(models, func(a, b NamedModel) int {
		if a.Alias < b.Alias {
			return -1
		}
		return 1
	})
	return models
}

// Frozen names the settings of next that differ from c but only take effect
// when tandem starts.
func (c *Config) Frozen(next *Config) []string {
	limits, nextLimits := c.Limits, next.Limits
	limits.InputBytes, nextLimits.InputBytes = 0, 0 // belongs to the tasks
	var keys []string
	for _, s := range []struct {
		key     string
		changed bool
	}{
		{"listen", c.Listen != next.Listen},
		{"data", c.Data != next.Data},
		{"models_dir", c.ModelsDir != next.ModelsDir},
		{"api_tokens", !slices.Equal(c.APITokens, next.APITokens)},
		{"limits (but input_bytes)", limits != nextLimits},
		{"log", c.Log != next.Log},
		{"learning", c.Learning != next.Learning},
	} {
		if s.changed {
			keys = append(keys, s.key)
		}
	}
	return keys
}
