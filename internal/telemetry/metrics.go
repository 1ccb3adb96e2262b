// Package telemetry counts what tandem does, for Prometheus, and sets up its
// log. It knows the words of the domain and nothing of who uses them: each
// user declares the small interface that it needs of Metrics.
package telemetry

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tandem"
)

// Metrics is a registry with everything that tandem counts. Its methods are
// safe for concurrent use; those on the request path allocate nothing once a
// combination of labels has been seen.
type Metrics struct {
	registry *prometheus.Registry

	requests  table[routeKey, prometheus.Counter]
	requestIn table[string, prometheus.Observer]
	decisions table[decisionKey, decisionSeries]
	tasks     table[string, taskSeries]
	models    table[string, modelSeries]

	teacherErrors *prometheus.CounterVec
	audits        *prometheus.CounterVec
	auditCost     *prometheus.CounterVec
	events        *prometheus.CounterVec
	training      *prometheus.HistogramVec
}

type (
	routeKey struct {
		route  string
		status int
	}
	decisionKey struct {
		task   string
		step   tandem.StepKind
		reason tandem.Reason
	}
	decisionSeries struct {
		count prometheus.Counter
		in    prometheus.Observer
	}
	taskSeries struct {
		cost, saved, dropped, input, output, cached prometheus.Counter
	}
	modelSeries struct {
		calls, cost, input, output, cached prometheus.Counter
	}
)

// New makes an empty registry. version is what the build calls itself.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := m.gauge("tandem_build_info", "Always 1; the label says which build runs.", "version")
	build.WithLabelValues(version).Set(1)

	requests := m.counter("tandem_http_requests_total", "HTTP requests by route and status.", "route", "status")
	m.requests.make = func(k routeKey) prometheus.Counter {
		return requests.WithLabelValues(k.route, strconv.Itoa(k.status))
	}
	requestIn := m.histogram("tandem_http_request_seconds", "Time to serve an HTTP request.", requestBuckets(), "route")
	m.requestIn.make = func(route string) prometheus.Observer { return requestIn.WithLabelValues(route) }

	decisions := m.counter("tandem_decisions_total", "Answers by task, answering step and reason.", "task", "step", "reason")
	decisionIn := m.histogram("tandem_decision_seconds", "Time to decide, without HTTP.", decisionBuckets(), "task", "step")
	m.decisions.make = func(k decisionKey) decisionSeries {
		return decisionSeries{
			count: decisions.WithLabelValues(k.task, string(k.step), string(k.reason)),
			in:    decisionIn.WithLabelValues(k.task, string(k.step)),
		}
	}
	cost := m.counter("tandem_cost_usd_total", "What requests of a task have cost, in US dollars, audits aside.", "task")
	saved := m.counter("tandem_saved_usd_total", "What always asking the teacher would have cost more, in US dollars: an estimate.", "task")
	dropped := m.counter("tandem_traces_dropped_total", "Traces that found the queue full and will not be learnt from.", "task")
	tokens := m.counter("tandem_tokens_total", "Tokens of the teacher that requests of a task used, as it reports them; cached is part of input.", "task", "kind")
	m.tasks.make = func(task string) taskSeries {
		return taskSeries{
			cost: cost.WithLabelValues(task), saved: saved.WithLabelValues(task), dropped: dropped.WithLabelValues(task),
			input: tokens.WithLabelValues(task, "input"), output: tokens.WithLabelValues(task, "output"), cached: tokens.WithLabelValues(task, "cached"),
		}
	}
	calls := m.counter("tandem_passthrough_total", "Calls passed through to a model.", "model")
	callCost := m.counter("tandem_passthrough_cost_usd_total", "What passed-through calls have cost, in US dollars, by the usage reported.", "model")
	callTokens := m.counter("tandem_passthrough_tokens_total", "Tokens of passed-through calls, as the provider reports them; cached is part of input.", "model", "kind")
	m.models.make = func(model string) modelSeries {
		return modelSeries{
			calls: calls.WithLabelValues(model), cost: callCost.WithLabelValues(model),
			input: callTokens.WithLabelValues(model, "input"), output: callTokens.WithLabelValues(model, "output"), cached: callTokens.WithLabelValues(model, "cached"),
		}
	}
	m.teacherErrors = m.counter("tandem_teacher_errors_total", "Requests whose teacher failed, by code.", "task", "code")
	m.audits = m.counter("tandem_audits_total", "Accepted answers checked with the teacher; result is agreed, disagreed or failed.", "task", "result")
	m.auditCost = m.counter("tandem_audit_cost_usd_total", "What audits have cost, in US dollars.", "task")
	m.events = m.counter("tandem_events_total", "Promotions, alarms, rollbacks and the like.", "task", "kind")
	m.training = m.histogram("tandem_training_seconds", "Time to train and certify a student.", trainingBuckets(), "task")
	return m
}

// Buckets of the histograms, in seconds.
func requestBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

func decisionBuckets() []float64 {
	return []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, .001, .01, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

func trainingBuckets() []float64 { return []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900} }

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

// Handler serves the metrics in Prometheus's formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Served counts an HTTP request.
func (m *Metrics) Served(route string, status int, took time.Duration) {
	m.requests.get(routeKey{route, status}).Inc()
	m.requestIn.get(route).Observe(took.Seconds())
}

// Forwarded counts a call passed through to a model.
func (m *Metrics) Forwarded(model string, u tandem.Usage, costUSD float64) {
	s := m.models.get(model)
	s.calls.Inc()
	s.cost.Add(max(0, costUSD))
	s.input.Add(float64(max(0, u.InputTokens)))
	s.output.Add(float64(max(0, u.OutputTokens)))
	s.cached.Add(float64(max(0, u.CachedTokens)))
}

// Decided counts an answer.
func (m *Metrics) Decided(d *tandem.Decision) {
	s := m.decisions.get(decisionKey{d.Task, d.Step, d.Reason})
	s.count.Inc()
	s.in.Observe(d.Took.Seconds())
	t := m.tasks.get(d.Task)
	t.saved.Add(max(0, d.SavedUSD))
	if d.Recorded == tandem.Dropped {
		t.dropped.Inc()
	}
	if d.CostUSD > 0 {
		t.cost.Add(d.CostUSD)
	}
	if d.Usage != (tandem.Usage{}) {
		t.input.Add(float64(max(0, d.Usage.InputTokens)))
		t.output.Add(float64(max(0, d.Usage.OutputTokens)))
		t.cached.Add(float64(max(0, d.Usage.CachedTokens)))
	}
	for i := range d.Attempts {
		if e := d.Attempts[i].Error; e != "" {
			m.teacherErrors.WithLabelValues(d.Task, string(e)).Inc()
		}
	}
}

// Audited counts an accepted answer that was checked with the teacher.
func (m *Metrics) Audited(task string, result tandem.AuditResult, costUSD float64) {
	m.audits.WithLabelValues(task, string(result)).Inc()
	m.auditCost.WithLabelValues(task).Add(max(0, costUSD))
}

// Happened counts an event, alarms among them.
func (m *Metrics) Happened(e tandem.Event) {
	m.events.WithLabelValues(e.Task, string(e.Kind)).Inc()
}

// Trained counts a training run.
func (m *Metrics) Trained(task string, took time.Duration) {
	m.training.WithLabelValues(task).Observe(took.Seconds())
}

// Queue shows a bounded queue: how much is in it, how much fits, and how much
// found it full. The functions are called when metrics are read. A name is
// given once.
func (m *Metrics) Queue(name string, length, capacity, dropped func() int) {
	labels := prometheus.Labels{"queue": name}
	show := func(metric, help string, f func() int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels},
			func() float64 { return float64(f()) }))
	}
	show("tandem_queue_length", "What waits in a queue.", length)
	show("tandem_queue_capacity", "What fits in a queue.", capacity)
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tandem_queue_dropped_total", Help: "What found a queue full.", ConstLabels: labels,
	}, func() float64 { return float64(dropped()) }))
}

// maxSeries bounds the combinations of labels of one table. Labels come from
// the configuration and from tandem itself, so the bound is only met when
// something is wrong; what is over it is counted under empty labels.
const maxSeries = 2048

// table finds a series by its labels without allocating.
type table[K comparable, V any] struct {
	seen atomic.Pointer[map[K]V]
	mu   sync.Mutex // of writers
	make func(K) V
}

func (t *table[K, V]) get(k K) V {
	if seen := t.seen.Load(); seen != nil {
		if v, ok := (*seen)[k]; ok {
			return v
		}
	}
	return t.add(k)
}

func (t *table[K, V]) add(k K) V {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[K]V{}
	if old := t.seen.Load(); old != nil {
		if v, ok := (*old)[k]; ok {
			return v
		}
		seen = maps.Clone(*old)
	}
	if len(seen) >= maxSeries {
		k = *new(K)
	}
	v, ok := seen[k]
	if !ok {
		v = t.make(k)
		seen[k] = v
		t.seen.Store(&seen)
	}
	return v
}
