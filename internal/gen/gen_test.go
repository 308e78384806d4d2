package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

func committed(t *testing.T) map[string][]byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, "command", "commands.def"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(string(src))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files := committed(t)
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the table says: run go generate ./command", name)
		}
		if !strings.HasPrefix(string(got), header) {
			t.Errorf("%s does not begin with the header", name)
		}
	}
	// A file that the table no longer makes would stay behind unseen.
	for _, pattern := range []string{"gen_*.go", "command/gen_*.go"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			if files[filepath.ToSlash(name)] == nil {
				t.Errorf("%s comes from no table", name)
			}
		}
	}
}

func TestGenerationIsReproducible(t *testing.T) {
	a, b := committed(t), committed(t)
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s differs from run to run", name)
		}
	}
}

func TestRunWritesAllFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "command"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := run(filepath.Join(root, "command", "commands.def"), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range committed(t) {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := run(filepath.Join(dir, "absent.def"), dir); err == nil {
		t.Error("a missing table is no error")
	}
}

const good = `group string
GET 2 1.0.0 read readonly keys=1
  # Get does.
  Get key -> bulk
    Get("a") => GET a
`

func TestMistakesInTheTableAreNamed(t *testing.T) {
	t.Parallel()
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ rule, from, to, want string }{
		{"a row without a group", "group string\n", "", "GET has no group"},
		{"an unknown flag", "readonly", "readnoly", `no such flag: "readnoly"`},
		{"an unknown retry class", " read ", " safe ", "cannot read the row"},
		{"keys that cannot be read", "keys=1", "keys=x", "cannot read keys=x"},
		{"a step that is no number", "keys=1", "keys=2#1:x", "cannot read keys=2#1:x"},
		{"a search for STORE without its beginning", "keys=1", "keys=1@STORE", "cannot read keys=1@STORE"},
		{"a beginning of another search", "keys=1", "keys=1@STREAMS:2", "cannot read keys=1@STREAMS:2"},
		{"a version of neither server", "1.0.0", "keydb-1.0.0", `cannot read the version "keydb-1.0.0"`},
		{"a version of two numbers", "1.0.0", "7.4,valkey-9.0.0", `cannot read the version "7.4,valkey-9.0.0"`},
		{"a version of a sample that cannot be read", "    Get(", "    @7 Get(", `cannot read the version "7"`},
		{"a word before what is no list", "Get key ->", "Get GET=key ->", "only a list repeats its word"},
		{"a block that cannot be read", "keys=1", "block=1h", "cannot read block=1h"},
		{"a missing sentence", "  # Get does.\n", "", "needs a sentence"},
		{"a sentence without its end", "does.", "does", "needs a sentence"},
		{"a sentence on another function", "# Get does", "# Set does", "does not begin with its name"},
		{"a function without a sample", "    Get(\"a\") => GET a\n", "", "has no sample"},
		{"a sample of another function", "Get(\"a\")", "Set(\"a\")", "does not call Get"},
		{"a sample without what is sent", " => GET a", "", "no =>"},
		{"an unknown type", "Get key ->", "Get key:kye ->", `no such type: "kye"`},
		{"an unknown option", "Get key ->", "Get key [GetOption] ->", "no option GetOption"},
		{"an unknown mark", "-> bulk", "-> bulk byte", `no such mark: "byte"`},
		{"a reply without decoder", "-> bulk", "-> [bulk]", "needs a decoder"},
		{"half a decoder", "-> bulk", "-> bulk as AsX", "as needs a decoder and a type"},
		{"no reply", "-> bulk", "", "no reply"},
		{"a row twice", "group string\n", "group string\nGET 2 1.0.0 read\n", "stands in the table twice"},
		{"an option of no word", "group", "# X is.\noption X NX\ngroup", "no word NX"},
		{"a row without function", "  # Get does.\n  Get key -> bulk\n    Get(\"a\") => GET a\n", "", "no function and no raw request"},
	} {
		src := strings.Replace(good, tt.from, tt.to, 1)
		_, err := parse(src)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "commands.def:") {
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.want)
		}
	}
}

func TestOptionsComeLastAndListsBeforeThem(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]string{
		"key value:value":                   "key, value string",
		"keys:key... timeout:block":         "timeout time.Duration, keys ...string",
		"#keys keys:key... [O]":             "keys []string, opts ...O",
		"key [O] id fields:Pair...":         "key, id string, fields []Pair, opts ...O",
		"script #keys keys:key* args:arg*":  "script string, keys []string, args ...Arg",
		"keys:key... LIMIT limit:int":       "limit int64, keys ...string",
		"key <O>":                           "key string, opt O",
		"key start:int stop:int WITHSCORES": "key string, start, stop int64",
		"key <from:A> <by:B> [O]":           "key string, from A, by B, opts ...O",
		"key GET=patterns:str... [O]":       "key string, patterns []string, opts ...O",
	} {
		f := &function{}
		for _, x := range strings.Fields(params) {
			p, err := parseParam(x)
			if err != nil {
				t.Fatal(err)
			}
			f.params = append(f.params, p)
		}
		if got := declare(signature(f), false); got != want {
			t.Errorf("%s: (%s), want (%s)", params, got, want)
		}
	}
}

func TestQualify(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{
		"string": "string", "[]Z": "[]command.Z", "[]Optional[string]": "[]command.Optional[string]",
		"time.Time": "time.Time", "resp3.Value": "resp3.Value", "map[string]int64": "map[string]int64",
	} {
		if got := qualify(typ); got != want {
			t.Errorf("%s: %s, want %s", typ, got, want)
		}
	}
}

// A word that joins two groups is excluded by both; others are free.
func TestExclusionBetweenWords(t *testing.T) {
	t.Parallel()
	tab, err := parse("# A is.\nword A\n# B is.\nword B\n# C is.\nword C\n# D is.\nword D\n# O is.\noption O A|B A|C D+\n")
	if err != nil {
		t.Fatal(err)
	}
	o := tab.option("O")
	for i, want := range []uint32{0b0111, 0b0011, 0b0101, 0} {
		if o.not[i] != want {
			t.Errorf("%s: mask %04b, want %04b", o.words[i].name, o.not[i], want)
		}
	}
}

// What Redis had when Valkey began, Valkey has.
func TestVersionsOfBothServers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"2.8.13":             {"2.8.13", "7.2.5"},
		"7.2.4":              {"7.2.4", "7.2.5"},
		"7.4.0":              {"7.4.0", ""},
		"8.4.0":              {"8.4.0", ""},
		"8.0.0,valkey-9.0.0": {"8.0.0", "9.0.0"},
		"valkey-8.1.0":       {"", "8.1.0"},
	} {
		redis, valkey, err := parseSince(text)
		if got := [2]string{redis, valkey}; err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}
