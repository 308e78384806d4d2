package main

import "strings"

// table is what commands.def holds.
type table struct {
	words   []*word
	options []*optionSet
	groups  []*group
}

func (t *table) word(name string) *word {
	for _, w := range t.words {
		if w.name == name {
			return w
		}
	}
	return nil
}

func (t *table) option(name string) *optionSet {
	for _, o := range t.options {
		if o.name == name {
			return o
		}
	}
	return nil
}

// word is an option word: NX, EX(d).
type word struct {
	name, doc string
	params    []param
	wire      []string // tokens; lower-case ones stand for parameters
}

// optionSet is the words that one or several functions take.
type optionSet struct {
	name, doc string
	words     []*word
	not       []uint32 // for each word, the bits of those that exclude it
}

// method returns the method that makes a word one of the set.
func (o *optionSet) method() string { return strings.ToLower(o.name[:1]) + o.name[1:] }

type group struct {
	name     string
	commands []*command
}

// command is one command of the server.
type command struct {
	line        int
	name        string
	group       string
	arity       string
	since       string // first version of Redis, "" where it has none
	sinceValkey string
	retry       string
	flags       []string
	keys        string
	block       string
	unless      []string
	doc         string // of commands without functions
	funcs       []*function
	samples     []sample // of commands without functions
}

func (c *command) spec() string {
	return "spec" + strings.NewReplacer(" ", "", "-", "", "_", "").Replace(c.name)
}

// function is a Go function that makes the command.
type function struct {
	line    int
	name    string
	doc     string
	params  []param
	reply   string
	decoder string
	typ     string // of the reply
	marks   map[string]bool
	samples []sample
	blob    bool // the twin that has []byte values
}

// param is one part of a command's syntax, in the order of the wire.
type param struct {
	kind  paramKind
	name  string // Go name; of a literal, its text
	typ   string // as written in the table
	milli string // the command, or word, that takes milliseconds
	token string // of a list: the word that stands before each element
}

type paramKind int

const (
	literal  paramKind = iota
	single             // name:type
	many               // name:type...
	manyZero           // name:type*
	count              // #name
	options            // [Set]
	option             // <Set> or <name:Set>
)

type sample struct {
	expr               string // Go call; of raw samples ""
	wire               string // words, quoted where needed
	reply              string
	before             []string
	varies             bool
	resp3              bool
	unrun              bool   // no test may run it
	since, sinceValkey string // where it came after its command
}
