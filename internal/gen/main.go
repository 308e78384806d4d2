package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if err := run("commands.def", ".."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes all generated files below root from the table.
func run(def, root string) error {
	src, err := os.ReadFile(def)
	if err != nil {
		return err
	}
	files, err := generate(string(src))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(root, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the generated files by their paths in the repository.
func generate(src string) (map[string][]byte, error) {
	t, err := parse(src)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, g := range t.groups {
		if err := add(files, "command/gen_"+g.name+".go", groupFile(t, g)); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{
		"command/gen_options.go":      optionsFile(t),
		"command/gen_table.go":        tableFile(t),
		"command/gen_samples_test.go": samplesFile(t),
		"gen_commands.go":             methodsFile(t),
		"gen_options.go":              aliasesFile(t),
	} {
		if err := add(files, name, text); err != nil {
			return nil, err
		}
	}
	return files, nil
}
