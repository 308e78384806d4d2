package guard

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestLuaHeaders(t *testing.T) { checkRepository(t, luaProblems) }

var (
	luaListed  = regexp.MustCompile(`\b(KEYS|ARGV)\[(\d+)(\.\.+)?\]`)
	luaUsed    = regexp.MustCompile(`\b(KEYS|ARGV)\b(?:\[(\d+)\])?`)
	luaComment = regexp.MustCompile(`(?s)--\[\[.*?\]\]|--[^\n]*`)
)

// luaProblems checks the header of each script under ds:
//
//	#!lua flags=allow-oom         (if it has flags)
//	-- acquire: take the lease if it is free.
//	-- KEYS[1] {name}:lease   KEYS[2] {name}:fence
//	-- ARGV[1] owner          ARGV[2..] more owners
//	-- returns {1, token} or {0, holder, ms left}
//
// "ARGV[2..]" lists that argument and all after it, for scripts that loop.
func luaProblems(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if strings.HasPrefix(f.path, "ds/") && strings.HasSuffix(f.path, ".lua") {
			for _, why := range scriptProblems(path.Base(f.path), f.src) {
				problems = append(problems, f.path+": "+why)
			}
		}
	}
	return problems
}

func scriptProblems(base, src string) []string {
	header, body := splitScript(src)
	var problems []string
	if name := strings.TrimSuffix(base, ".lua"); !strings.HasPrefix(header, "-- "+name+": ") {
		problems = append(problems, fmt.Sprintf("the header must begin with %q", "-- "+name+": purpose"))
	}
	if !strings.Contains(header, "\n-- returns ") {
		problems = append(problems, "the header has no line \"-- returns …\"")
	}
	listed, used := listedArguments(header), usedArguments(body)
	for _, arg := range slices.Sorted(maps.Keys(used)) {
		if !listed.covers(arg) {
			problems = append(problems, arg.String()+" is used, but not in the header")
		}
	}
	for _, arg := range slices.Sorted(maps.Keys(listed)) {
		if !used.covers(arg) {
			problems = append(problems, arg.String()+" is in the header, but not used")
		}
	}
	return problems
}

// splitScript cuts a script after the comment lines at its top, and takes the
// shebang and all other comments away.
func splitScript(src string) (header, body string) {
	if strings.HasPrefix(src, "#!") {
		_, src, _ = strings.Cut(src, "\n")
	}
	rest := src
	for strings.HasPrefix(rest, "--") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	return src[:len(src)-len(rest)], luaComment.ReplaceAllString(rest, "")
}

// argument is "KEYS[1]", or "ARGV[..]" for an open range or a computed index.
type argument string

func (a argument) String() string { return string(a) }

func indexed(table string, i int) argument {
	return argument(fmt.Sprintf("%s[%d]", table, i))
}

func open(table string) argument { return argument(table + "[..]") }

// arguments maps an argument to its index, or an open range to its first.
type arguments map[argument]int

func (as arguments) covers(a argument) bool {
	if _, ok := as[a]; ok {
		return true
	}
	table, index, _ := strings.Cut(strings.TrimSuffix(string(a), "]"), "[")
	from, ok := as[open(table)]
	i, err := strconv.Atoi(index)
	return ok && err == nil && i >= from
}

func listedArguments(header string) arguments {
	as := arguments{}
	for _, m := range luaListed.FindAllStringSubmatch(header, -1) {
		i, _ := strconv.Atoi(m[2])
		if m[3] != "" {
			as[open(m[1])] = i
		} else {
			as[indexed(m[1], i)] = i
		}
	}
	return as
}

func usedArguments(body string) arguments {
	as := arguments{}
	for _, m := range luaUsed.FindAllStringSubmatch(body, -1) {
		i, err := strconv.Atoi(m[2])
		if err != nil {
			// A computed index justifies open ranges only, hence far away.
			as[open(m[1])] = 1 << 30
		} else {
			as[indexed(m[1], i)] = i
		}
	}
	return as
}

func TestLuaProblems(t *testing.T) {
	t.Parallel()
	script := func(lines ...string) map[string]string {
		return map[string]string{"ds/p/get.lua": strings.Join(lines, "\n") + "\n"}
	}
	checkExamples(t, luaProblems, []example{
		{"a good one", script(
			"#!lua flags=allow-oom", "-- get: read it.", "-- KEYS[1] it   ARGV[1] a", "-- returns it",
			"-- and nothing else",
			"return redis.call('GET', KEYS[1]) .. ARGV[1] -- not ARGV[2]"), nil},
		{"no header", script("return 1"), []string{"must begin", "returns"}},
		{"another name", script("-- set: write it.", "-- returns it", "return 1"), []string{"-- get: purpose"}},
		{"no returns", script("-- get: read it.", "-- KEYS[1] it", "return KEYS[1]"), []string{"returns"}},
		{"an argument that is not listed", script("-- get: read it.", "-- returns it", "return ARGV[1]"), []string{"ARGV[1] is used"}},
		{"an argument that is not used", script("-- get: read it.", "-- KEYS[1] it", "-- returns it", "-- KEYS[1] again", "return 1 -- KEYS[1]"), []string{"KEYS[1] is in the header"}},
		{"a block comment does not use", script("-- get: read it.", "-- KEYS[1] it", "-- returns it", "return --[[ KEYS[1]", "]] 1"), []string{"KEYS[1] is in the header"}},
		{"a loop needs a range", script("-- get: read it.", "-- KEYS[1] it", "-- returns it", "return KEYS[1] .. ARGV[i + 1]"), []string{"ARGV[..] is used"}},
		{"a range", script("-- get: read them.", "-- ARGV[2..] more", "-- ARGV[1] one", "-- returns it", "return ARGV[1] .. ARGV[3] .. #ARGV"), nil},
		{"a range does not cover what is before it", script("-- get: read them.", "-- ARGV[2..] more", "-- returns it", "return ARGV[1] .. ARGV[i]"), []string{"ARGV[1] is used"}},
		{"a range without a loop", script("-- get: read them.", "-- ARGV[1..] all", "-- returns it", "return ARGV[1]"), []string{"ARGV[..] is in the header"}},
		{"a loop does not use a single argument", script("-- get: read them.", "-- ARGV[1] one", "-- ARGV[2..] more", "-- returns it", "return unpack(ARGV, 2)"), []string{"ARGV[1] is in the header"}},
		{"scripts elsewhere", map[string]string{"bench/x.lua": "return 1\n"}, nil},
	})
}
