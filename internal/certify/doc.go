// Package certify is the statistical core of the guarantee: which rows may
// certify, whether a threshold keeps the promise, whether a deployed gate
// still does, and how both are said in words. It is pure: slices in, values
// out, no clock, no log, no input or output. docs/guarantee.md explains it to
// users.
//
// Throughout, alpha is the share of accepted answers that may differ from the
// teacher's, delta the probability with which the promise may be wrong, and
// the propensity of a row the probability, fixed before the coin was thrown,
// with which its teacher label was asked for.
package certify
