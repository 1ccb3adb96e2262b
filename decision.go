package tandem

import "time"

// Usage counts the tokens of one call to a provider.
type Usage struct {
	InputTokens      int `json:"input_tokens"`
	OutputTokens     int `json:"output_tokens"`
	CachedTokens     int `json:"cached_tokens,omitempty"`      // part of InputTokens read from the provider's cache
	CacheWriteTokens int `json:"cache_write_tokens,omitempty"` // part of InputTokens written to it
	ReasoningTokens  int `json:"reasoning_tokens,omitempty"`   // part of OutputTokens spent on thinking
}

// Plus is the usage of both calls together.
func (u Usage) Plus(v Usage) Usage {
	u.InputTokens += v.InputTokens
	u.OutputTokens += v.OutputTokens
	u.CachedTokens += v.CachedTokens
	u.CacheWriteTokens += v.CacheWriteTokens
	u.ReasoningTokens += v.ReasoningTokens
	return u
}

// Price is what a provider model costs, in US dollars per million tokens.
type Price struct {
	Input  float64 `json:"input"`
	Output float64 `json:"output"`
	Cached float64 `json:"cached,omitempty"` // 0: same as Input
}

// Cost is the price of a usage in US dollars.
func (p Price) Cost(u Usage) float64 {
	cached := p.Cached
	if cached == 0 {
		cached = p.Input
	}
	return (float64(u.InputTokens-u.CachedTokens)*p.Input +
		float64(u.CachedTokens)*cached + float64(u.OutputTokens)*p.Output) / 1e6
}

// Reason is a stable code for why a step answered or did not.
type Reason string

// Why a gate accepted or escalated, and why a step could not serve.
const (
	Accepted       Reason = "accepted"        // score at or over the certified threshold
	BelowThreshold Reason = "below_threshold" // score under the certified threshold
	NoStudent      Reason = "no_student"      // nothing trained yet
	NotCertified   Reason = "not_certified"   // the student runs in shadow
	GateClosed     Reason = "gate_closed"     // an alarm withdrew the certificate
	NeverServed    Reason = "never_serve"     // the label is reserved for the teacher
	Modality       Reason = "modality"        // the student cannot read this input
	Forced         Reason = "forced"          // the caller asked for the teacher
	LastStep       Reason = "last_step"       // the teacher answers whatever reaches it
	TeacherFailed  Reason = "teacher_failed"  // fallback answer after the teacher failed
	OutsideSpace   Reason = "outside_space"   // the teacher's answer is none of the labels
)

// StepKind tells a trained step from a provider's.
type StepKind string

// The kinds of steps.
const (
	StudentStep  StepKind = "student"
	ProviderStep StepKind = "provider"
)

// Attempt is what one step did for one request.
type Attempt struct {
	Step    StepKind      `json:"step"`
	Model   string        `json:"model"` // student version or provider model
	Label   string        `json:"label,omitempty"`
	Score   float64       `json:"score,omitempty"` // in [0, 1]; 0 for a teacher
	Reason  Reason        `json:"reason"`
	Error   Code          `json:"error,omitempty"`
	Usage   Usage         `json:"usage,omitzero"`
	CostUSD float64       `json:"cost_usd,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// AuditResult is what became of checking an accepted answer with the teacher.
type AuditResult string

// The results of an audit.
const (
	Agreed      AuditResult = "agreed"
	Disagreed   AuditResult = "disagreed"
	AuditFailed AuditResult = "failed" // the teacher did not answer; it counts for nothing
)

// Recorded says what has become of a decision's trace when the reply leaves.
type Recorded string

// The states of a trace at reply time.
const (
	Stored  Recorded = "stored"  // durable: survives a crash
	Queued  Recorded = "queued"  // in memory, stored within moments
	Dropped Recorded = "dropped" // the queue was full; counted in tandem_traces_dropped_total
	Skipped Recorded = "skipped" // left out by sampling: an accepted answer that nobody audits
)

// Decision is the answer to one request, which step gave it and why, and what
// every attempt cost.
type Decision struct {
	TraceID    string        `json:"trace_id"`
	Task       string        `json:"task"`
	Answer     string        `json:"answer"`    // a label, or the teacher's raw reply when Reason is OutsideSpace
	Step       StepKind      `json:"step"`      // who answered
	Model      string        `json:"model"`     // student version or provider model
	Score      float64       `json:"score"`     // estimated probability of being the teacher's answer; 1 for the teacher
	Certified  bool          `json:"certified"` // covered by a live certificate, or the teacher's own answer
	Reason     Reason        `json:"reason"`
	Why        string        `json:"why"`                 // the reason in words
	Recording  bool          `json:"recording,omitempty"` // the teacher is a recording
	Propensity float64       `json:"propensity"`          // probability with which the teacher's label was asked for
	Usage      Usage         `json:"usage,omitzero"`
	CostUSD    float64       `json:"cost_usd"`  // of all attempts
	SavedUSD   float64       `json:"saved_usd"` // against always asking the teacher; an estimate
	Recorded   Recorded      `json:"recorded"`
	Took       time.Duration `json:"took_ns"`
	Attempts   []Attempt     `json:"attempts,omitempty"`
}
