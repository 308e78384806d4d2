package guard

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestMarkdownLinks(t *testing.T) { checkRepository(t, linkProblems) }

var (
	markdownLink   = regexp.MustCompile(`\]\(<?([^)\s>]+)|^\s*\[[^\]]+\]:\s*<?([^\s>]+)`)
	markdownSpan   = regexp.MustCompile("`[^`]*`")
	markdownScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// linkProblems finds links in markdown to files that are not in the tree.
func linkProblems(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if !strings.HasSuffix(f.path, ".md") {
			continue
		}
		fenced := false
		number := 0
		for line := range strings.Lines(f.src) {
			number++
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, target := range targets(line) {
				if !t.resolves(f.dir(), target) {
					problems = append(problems, fmt.Sprintf("%s:%d: no file %s", f.path, number, target))
				}
			}
		}
	}
	return problems
}

func targets(line string) []string {
	var all []string
	for _, m := range markdownLink.FindAllStringSubmatch(markdownSpan.ReplaceAllString(line, ""), -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

func (t *tree) resolves(dir, target string) bool {
	if markdownScheme.MatchString(target) || strings.HasPrefix(target, "#") {
		return true
	}
	target, _, _ = strings.Cut(target, "#")
	return !strings.HasPrefix(target, "/") && t.paths[path.Join(dir, target)]
}

func TestLinkProblems(t *testing.T) {
	t.Parallel()
	page := func(text string) map[string]string {
		return map[string]string{"docs/a.md": text, "docs/b.md": "", "README.md": ""}
	}
	checkExamples(t, linkProblems, []example{
		{"a file beside, above, a folder, an anchor", page("[b](b.md) [r](../README.md#x), [d](../docs/) and [x](#x)\n"), nil},
		{"a missing file", page("text\n[c](c.md)\n"), []string{"docs/a.md:2: no file c.md"}},
		{"a missing image", page("![c](c.png)\n"), []string{"c.png"}},
		{"a reference", page("[c]: c.md\n"), []string{"c.md"}},
		{"an absolute path", page("[b](/docs/b.md)\n"), []string{"/docs/b.md"}},
		{"a path out of the repository", page("[b](../../b.md)\n"), []string{"../../b.md"}},
		{"an address", page("[w](https://example.com) [m](mailto:a@example.com)\n"), nil},
		{"code", page("`[c](c.md)`\n```go\nx[i](c.md)\n```\n"), nil},
		{"after code", page("```\n```\n[c](c.md)\n"), []string{"c.md"}},
	})
}
