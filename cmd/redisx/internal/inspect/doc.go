// Package inspect is redisx inspect: what ds/inspect finds, for people and for
// programs.
package inspect
