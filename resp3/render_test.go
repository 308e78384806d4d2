package resp3_test

import (
	"fmt"
	"strings"

	"github.com/redisx/redisx/resp3"
)

// render writes a value in a short notation that shows every part of it. It
// goes through Elems, Attributes and the conversions.
func render(v resp3.Value) string {
	var b strings.Builder
	if attrs := v.Attributes(); len(attrs) > 0 || strings.HasPrefix(string(v.Append(nil)), "|") {
		b.WriteString("{" + renderAll(attrs) + "}")
	}
	switch k := v.Kind(); {
	case k.IsAggregate():
		fmt.Fprintf(&b, "%c[%s]", k, renderAll(v.Elems()))
	case k == resp3.Null:
		b.WriteString("_")
	case k == resp3.Integer:
		n, _ := v.Int()
		fmt.Fprintf(&b, ":%d", n)
	case k == resp3.Boolean:
		n, _ := v.Int()
		fmt.Fprintf(&b, "#%d", n)
	case k == resp3.Double, k == resp3.BigNumber:
		fmt.Fprintf(&b, "%c%s", k, v.Text())
	case k == resp3.Verbatim:
		_, text, _ := strings.Cut(string(v.Append(nil)), "\r\n")
		fmt.Fprintf(&b, "=%q", strings.TrimSuffix(text, "\r\n"))
	default:
		fmt.Fprintf(&b, "%c%q", k, v.Text())
	}
	return b.String()
}

func renderAll(vs []resp3.Value) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = render(v)
	}
	return strings.Join(parts, " ")
}

// renderView is render for a View: through the Cursor, which passes over
// attributes.
func renderView(v resp3.View) string {
	if !v.Kind().IsAggregate() {
		return render(v.Value())
	}
	var parts []string
	c := v.Cursor()
	for c.Len() > 0 {
		e, ok := c.Next()
		if !ok {
			return "Next ended early"
		}
		parts = append(parts, renderView(e))
	}
	return fmt.Sprintf("%c[%s]", v.Kind(), strings.Join(parts, " "))
}

// bare is render without attributes.
func bare(v resp3.Value) string {
	if !v.Kind().IsAggregate() {
		return render(v.WithAttributes())
	}
	var parts []string
	for e := range v.All() {
		parts = append(parts, bare(e))
	}
	return fmt.Sprintf("%c[%s]", v.Kind(), strings.Join(parts, " "))
}
