package explain

import (
	"fmt"
	"strings"
	"time"
)

// most bounds the names in one sentence.
const most = 10

// Clock is a time of day, in UTC to the second.
func Clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// Rounded is a duration as coarse as people want it.
func Rounded(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// List joins what is said of each of n, the first ten of them.
func List(n int, say func(i int) string) string {
	said := make([]string, min(n, most))
	for i := range said {
		said[i] = say(i)
	}
	all := strings.Join(said, ", ")
	if n > most {
		all += fmt.Sprintf(" and %d more", n-most)
	}
	return all
}
