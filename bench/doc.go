// Package bench measures tandem as it is deployed: how much traffic a
// certificate lets a student take over (offload), how a task learns from
// nothing (stream), how often a student without a gate is right (accuracy), how soon a broken promise is noticed (drift) and what the
// gateway costs beside a bare HTTP handler (serve). It calls the packages of
// the product and keeps no method of its own, so that a figure in
// docs/benchmarks.md is a figure of what a user runs. Offload and accuracy also
// judge the recorded answers of other programs; peers/ runs those.
package bench
