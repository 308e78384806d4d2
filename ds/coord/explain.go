package coord

import (
	"fmt"
	"strings"
	"time"
)

// maxExplained bounds the names in one sentence.
const maxExplained = 10

// clock is a time of day as all explanations give it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// seconds is a duration as all explanations give it.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// list joins what is said of each of n, the first ten of them.
func list(n int, say func(i int) string) string {
	said := make([]string, min(n, maxExplained))
	for i := range said {
		said[i] = say(i)
	}
	all := strings.Join(said, ", ")
	if n > maxExplained {
		all += fmt.Sprintf(" and %d more", n-maxExplained)
	}
	return all
}
