// Command gen writes the code that follows from the table of commands:
//
//	command/gen_<group>.go        facts and typed constructors
//	command/gen_options.go        option words and what takes them
//	command/gen_table.go          all facts, by name
//	command/gen_samples_test.go   the table's samples, for tests
//	gen_commands.go               methods of clients and pipelines
//	gen_options.go                the option words in the root package
//
// It runs in the folder command, by go generate. The table's form is described
// at its top, in command/commands.def. The same table makes the same bytes.
package main
