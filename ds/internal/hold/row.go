package hold

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/resp3"
)

// Row is one hold's part of a script that renews many.
//
// The script gets the keys of all rows, one after the other, and their
// arguments, and returns an array: first the run_id of the server as
// INFO tells it, or an empty string, then one answer for each row: 1 when it is renewed, the
// Reason why it is not ours, or an error that concerns this row only. It never
// makes a key.
type Row interface {
	// Script returns the script. Rows of different scripts do not go together.
	Script() *command.Script
	// Append appends the row's keys and arguments: as many for every row of a
	// script.
	Append(keys []string, args []command.Arg) ([]string, []command.Arg)
}

// answers is what a script said of its rows.
type answers struct {
	server string
	rows   []error // nil, a *GoneError, or a resp3.ServerError
}

func asAnswers(v resp3.View) (answers, error) {
	var a answers
	if v.Kind() != resp3.Array {
		return a, &resp3.TypeError{Want: "an array", Got: v.Kind()}
	}
	c := v.Cursor()
	server, ok := c.Next()
	if !ok {
		return a, &resp3.TypeError{Want: "a longer array", Got: resp3.Array}
	}
	var err error
	if a.server, err = server.Str(); err != nil {
		return a, err
	}
	a.rows = make([]error, 0, c.Len())
	for row, ok := c.Next(); ok; row, ok = c.Next() {
		a.rows = append(a.rows, answerOf(row))
	}
	return a, nil
}

// answerOf reads the answer to one row.
func answerOf(v resp3.View) error {
	reason, err := AsReason(v)
	if err != nil || reason == "" {
		return err
	}
	return &GoneError{reason}
}

// AsReason reads an answer as scripts give it: 1 means ours and is "", a text
// is the reason why it is not.
func AsReason(v resp3.View) (Reason, error) {
	if v.Kind() == resp3.Integer {
		n, err := v.Int()
		if err == nil && n == 0 {
			return Gone, nil
		}
		return "", err
	}
	if err := v.Err(); err != nil {
		return "", err
	}
	s, err := v.Str()
	if err != nil {
		return "", err
	}
	return ReasonOf(s), nil
}

// ReasonOf returns the Reason of that text if a script may give it, else Gone.
func ReasonOf(s string) Reason {
	switch r := Reason(s); r {
	case NotOwner, TakenOver, HandedOver:
		return r
	}
	return Gone
}

// ask renews the rows of holds with one script. It returns when the request
// left, and an answer for each hold.
func ask(ctx context.Context, holds []*Hold) (sent time.Time, answers answers) {
	o := &holds[0].o
	var keys []string
	var args []command.Arg
	for _, h := range holds {
		keys, args = h.o.Row.Append(keys, args)
	}
	sent = time.Now()
	answers, err := replicas.Run(ctx, o.Doer, o.Confirm, o.Row.Script(), asAnswers, keys, args...)
	if err == nil && len(answers.rows) != len(holds) {
		err = &resp3.TypeError{Want: "an answer for each row", Got: resp3.Array}
	}
	if err == nil {
		return sent, answers
	}
	if len(answers.rows) != len(holds) {
		answers.rows = make([]error, len(holds))
	}
	for i, said := range answers.rows {
		if said == nil {
			answers.rows[i] = err
		}
	}
	return sent, answers
}

// renewRow is Options.Renew of a hold that no group renews.
func (h *Hold) renewRow(ctx context.Context) error {
	_, a := ask(ctx, []*Hold{h})
	return h.judge(a.server, a.rows[0])
}

// judge notes which server has answered, and finds the failover in what it
// said.
func (h *Hold) judge(server string, said error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if said == nil {
		if server != "" {
			h.server = server
		}
		return nil
	}
	if gone, ok := said.(*GoneError); ok {
		return &GoneError{h.because(server, gone.Reason)}
	}
	return said
}

// because is the reason that a server gave, or Failover. The caller holds mu.
func (h *Hold) because(server string, reason Reason) Reason {
	if (reason == Gone || reason == NotOwner) && server != "" && h.server != "" && server != h.server {
		return Failover
	}
	return reason
}

// Refused is Lose for an answer that says which server gave it, "" when it does
// not.
func (h *Hold) Refused(server string, reason Reason, err error) {
	h.mu.Lock()
	reason = h.because(server, reason)
	h.mu.Unlock()
	h.Lose(reason, err)
}
