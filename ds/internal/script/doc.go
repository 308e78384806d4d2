// Package script is what the scripts of all primitives have in common: parts
// that several of them include, the fields of what they return, and what their
// errors prove.
//
// A primitive's scripts are .lua files beside its Go. Each begins with a header
// that names its keys, its arguments and what it returns.
package script
