package smart

import (
	"context"
	"iter"

	"github.com/redisx/redisx/command"
)

// Changes tells of the string at key: first as a read that began after the call
// showed it, then each time that a read shows another one, or none. States that
// last for a short time may be skipped, the last one never is.
//
// It goes on until the loop is left, or to an error that ends it: those of
// WaitFor, of which Budget bounds the whole iteration. Nothing is kept for a
// loop that is slow but the state of the key.
func Changes(ctx context.Context, d command.Doer, key string, opts ...Option) iter.Seq2[Seen, error] {
	return func(yield func(Seen, error) bool) {
		l := &leaf{kind: value, key: key, met: func(state) bool { return true }}
		w, err := begin(ctx, d, []*leaf{l}, opts)
		if err != nil {
			yield(Seen{Key: key}, err)
			return
		}
		defer w.end()
		c := Condition{leaf: l}
		var told Seen
		for {
			met, err := w.judge(c)
			if err == nil && met && told != w.parts[0].seen {
				told = w.parts[0].seen
				if !yield(told, nil) {
					return
				}
				continue // to look at once whether that took long
			}
			if err == nil {
				err = w.pause(ctx)
				if err == nil {
					continue
				}
				err = w.ended(ctx, err)
			}
			yield(told, err)
			return
		}
	}
}
