package inspect

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	ds "github.com/redisx/redisx/ds/inspect"
)

// made are reports whose every word is known.
func made() []ds.Report {
	return []ds.Report{
		{Object: ds.Object{Kind: "queue", Namespace: "redisx", Name: "mail"}, Says: "3 waiting"},
		{Object: ds.Object{Kind: "value", Name: "profile:1"}, Says: "computed by web-2"},
		{Object: ds.Object{Kind: "lease", Namespace: "redisx", Name: "video:9\x1b[2J"}, Says: "free, last token 7"},
		{Object: ds.Object{Kind: "lease", Namespace: "redisx", Name: "video:42"}, Says: "held by node-A since 12:03:05Z"},
		{Object: ds.Object{Kind: "lease", Namespace: "app", Name: "日本語"}, Says: "free, last token 8"},
		{Object: ds.Object{Kind: "lease", Namespace: "app", Name: ds.Text(strings.Repeat("n", 300))}, Says: "free, last token 9"},
		{Object: ds.Object{Kind: "limiter", Namespace: "app", Name: "a name that is longer than what a column may take"}, Says: "full"},
		{Object: ds.Object{Kind: "unknown", Namespace: "redisx", Name: "x"}, Says: "a future of schema version 7, which this version of redisX does not know"},
	}
}

var golden = `KIND     NAMESPACE  NAME              STATE
lease    app        ` + strings.Repeat("n", 160) + `… (300 bytes)  free, last token 9
lease    app        日本語               free, last token 8
lease    redisx     video:42          held by node-A since 12:03:05Z
lease    redisx     "video:9\x1b[2J"  free, last token 7
queue    redisx     mail              3 waiting
limiter  app        a name that is longer than what a column may take  full
value    -          profile:1         computed by web-2
unknown  redisx     x                 a future of schema version 7, which this version of redisX does not know
`

func TestTheTableIsAlignedSortedAndSafe(t *testing.T) {
	for range 3 { // in any order of arrival
		reports := made()
		reports[0], reports[3], reports[5] = reports[5], reports[0], reports[3]
		var out bytes.Buffer
		o := Options{Out: &out}
		if err := o.table(reports); err != nil {
			t.Fatal(err)
		}
		if out.String() != golden {
			t.Errorf("the table is\n%s\nwant\n%s", out.String(), golden)
		}
	}
}

type info struct {
	Name  string            `json:"name"`
	Since time.Time         `json:"since,omitzero"`
	Left  time.Duration     `json:"left_ns,omitempty"`
	Never time.Time         `json:"never"`
	Who   []member          `json:"who,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
	Best  *member           `json:"best,omitempty"`
	Plain int
	quiet int
}

type member struct {
	Name   string        `json:"name"`
	Weight int           `json:"weight"`
	Left   time.Duration `json:"left_ns"`
}

func (info) Explain() string { return "all is well" }

func TestAReportTellsEveryFact(t *testing.T) {
	r := ds.Report{
		Object: ds.Object{Kind: "lease", Namespace: "redisx", Name: "a\nb", Keys: []ds.Key{
			{Name: "{redisx:lease:a%0Ab}:lease", Type: "hash", Left: 8200 * time.Millisecond},
			{Name: "{redisx:lease:a%0Ab}:fence", Type: "hash", Left: -1},
		}},
		Says: "all is well",
		Info: info{
			Name: "a\nb", Since: time.Date(2026, 11, 23, 12, 3, 5, 500e6, time.UTC), Left: 90 * time.Minute, Plain: 7, quiet: 1,
			Who: []member{{"web-1", 1, time.Second}, {"web-2\x1b", 3, time.Millisecond}}, Tags: map[string]string{"zone": "b", "app": "x\x07"}, Best: &member{Name: "web-1"},
		},
	}
	var out bytes.Buffer
	if err := writeReport(&out, r); err != nil {
		t.Fatal(err)
	}
	want := `lease "a\nb" (namespace redisx)
  all is well

  name   "a\nb"
  since  2026-11-23T12:03:05.5Z
  left   1h30m0s
  never  -
  who    name web-1, weight 1, left 1s
         name "web-2\x1b", weight 3, left 1ms
  tags   app="x\a", zone=b
  best   name web-1, weight 0, left 0s
  plain  7
  key    {redisx:lease:a%0Ab}:lease  hash  8.2s
  key    {redisx:lease:a%0Ab}:fence  hash  no end
`
	if out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", out.String(), want)
	}
}

func TestFactsTakeAnyKindOfInfo(t *testing.T) {
	type inner struct {
		Name string `json:"name"`
	}
	for _, tt := range []struct {
		name string
		info any
		want [][]string
	}{
		{"one without fields", struct{}{}, nil},
		{"a pointer to nothing has no line", struct{ P *member }{}, nil},
		{"a pointer to something", struct{ P *inner }{&inner{"a"}}, [][]string{{"p", "name a"}}},
		{"a list has a line an element, its name is said once", struct{ S []string }{[]string{"a", "b\x1b"}}, [][]string{{"s", "a"}, {"", `"b\x1b"`}}},
		{"an empty list has no line", struct{ S []string }{}, nil},
		{"an empty map", struct{ M map[string]int }{}, [][]string{{"m", ""}}},
		{"a map is sorted", struct{ M map[string]int }{map[string]int{"b": 2, "a": 1}}, [][]string{{"m", "a=1, b=2"}}},
		{"embedded fields are its own", struct {
			inner
			inner2 int
			N      int
		}{inner{"a"}, 1, 2}, [][]string{{"n", "2"}}},
		{"exported embedded fields, too", struct{ Inner }{Inner{"a"}}, [][]string{{"name", "a"}}},
		{"figures that are all zero have no line", struct {
			S struct{ N, M int } `json:"here"`
			T struct{ N, M int } `json:"there"`
		}{T: struct{ N, M int }{M: 1}}, [][]string{{"there", "n 0, m 1"}}},
		{"what is left out in JSON is left out", struct {
			A int `json:"-"`
			B int `json:"b,omitempty"`
			C int `json:"c,omitempty"`
		}{1, 0, 3}, [][]string{{"c", "3"}}},
		{"times and durations as people read them", struct {
			Left time.Duration `json:"left_ns"`
			At   time.Time     `json:"at"`
		}{1500 * time.Millisecond, time.Time{}}, [][]string{{"left", "1.5s"}, {"at", "-"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := facts(reflect.ValueOf(tt.info)); !slices.EqualFunc(got, tt.want, slices.Equal) {
				t.Errorf("facts are %q, want %q", got, tt.want)
			}
		})
	}
}

// Inner is embedded by an Info.
type Inner struct {
	Name string `json:"name"`
}
