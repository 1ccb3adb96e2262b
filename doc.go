// Package tandem is the vocabulary of a system in which small models and a
// large one answer the same questions: tasks, inputs, answers, decisions,
// traces and certificates. It depends on the standard library only; every
// other package of the module speaks in these words (ARCHITECTURE.md).
package tandem
