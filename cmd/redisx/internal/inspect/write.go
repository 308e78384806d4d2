package inspect

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	ds "github.com/redisx/redisx/ds/inspect"
)

const (
	// maxColumn bounds how far a long entry pushes the next column of all rows.
	maxColumn = 48
	// maxName bounds what is shown of a name in a table, in runes.
	maxName = 160
)

// short returns a name as a table shows it.
func short(name string) string {
	n := 0
	for i := range name {
		if n++; n > maxName {
			return fmt.Sprintf("%s… (%d bytes)", name[:i], len(name))
		}
	}
	return name
}

// writeTable writes rows with their columns aligned.
func writeTable(w io.Writer, indent string, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n := utf8.RuneCountInString(cell); n <= maxColumn {
				widths[i] = max(widths[i], n)
			}
		}
	}
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(indent)
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeReport writes all that is known of one object.
func writeReport(w io.Writer, r ds.Report) error {
	title := fmt.Sprintf("%s %v", r.Kind, r.Name)
	if r.Namespace != "" {
		title += fmt.Sprintf(" (namespace %v)", r.Namespace)
	}
	if _, err := fmt.Fprintf(w, "%s\n  %s\n\n", title, r.Says); err != nil {
		return err
	}
	var rows [][]string
	if r.Info != nil {
		rows = facts(reflect.ValueOf(r.Info))
	}
	for _, k := range r.Keys {
		left := "no end"
		if k.Left >= 0 {
			left = duration(k.Left)
		}
		rows = append(rows, []string{"key", fmt.Sprintf("%v  %s  %s", k.Name, k.Type, left)})
	}
	return writeTable(w, "  ", rows)
}

// facts returns the fields of an Info by their names in JSON, one row each.
func facts(v reflect.Value) [][]string {
	var rows [][]string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			rows = append(rows, facts(v.Field(i))...)
		case v.Field(i).IsZero() && (strings.HasPrefix(opts, "omit") || f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]()):
		default:
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			name = strings.TrimSuffix(name, "_ns") // which is about JSON
			for j, value := range fact(v.Field(i)) {
				if j > 0 {
					name = ""
				}
				rows = append(rows, []string{name, value})
			}
		}
	}
	return rows
}

// fact returns one value in one line, or a list in a line for each element.
func fact(v reflect.Value) []string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return []string{duration(x)}
	case time.Time:
		if x.IsZero() {
			return []string{"-"}
		}
		return []string{x.UTC().Format(time.RFC3339Nano)}
	}
	switch v.Kind() {
	case reflect.Slice:
		var lines []string
		for i := range v.Len() {
			lines = append(lines, strings.Join(fact(v.Index(i)), ", "))
		}
		return lines
	case reflect.Map:
		var pairs []string
		for _, k := range v.MapKeys() {
			pairs = append(pairs, text(k)+"="+strings.Join(fact(v.MapIndex(k)), ", "))
		}
		slices.Sort(pairs)
		return []string{strings.Join(pairs, ", ")}
	case reflect.Struct:
		var parts []string
		for _, row := range facts(v) {
			parts = append(parts, strings.Join(row, " "))
		}
		return []string{strings.Join(parts, ", ")}
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return fact(v.Elem())
	}
	return []string{text(v)}
}

// text returns a plain value so that it is fit for a terminal.
func text(v reflect.Value) string { return ds.Text(fmt.Sprint(v.Interface())).String() }

func duration(d time.Duration) string {
	if d > time.Minute || d < -time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}
