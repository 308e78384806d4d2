package inspect

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

//go:embed describe.lua
var describeSource string

var describeScript = command.NewScriptRO(describeSource)

// Find yields every object that primitives have left on a server, in no order,
// each once. It walks over all keys with SCAN, at the pace of Rate, and asks of
// those that look like ours what they are.
//
// An error is the last that is yielded: a *ScanError, or what is wrong with the
// options. Objects that are made, or expire, during the search may or may not be
// found. d is one server: of a cluster, search each primary.
func Find(ctx context.Context, d command.Doer, opts ...Option) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		s, err := newSearch(d, opts)
		if err != nil {
			yield(Object{}, err)
			return
		}
		s.run(ctx, func(o Object) bool { return yield(o, nil) }, func(err error) { yield(Object{}, err) })
	}
}

// Lookup returns the objects of that name, one of each kind that has one, and a
// *NotFoundError if there is none. It asks for their keys and does not search:
// it takes one round trip. Of the options InNamespace and OfKind count. A
// value of ds/aside is found by its key, in every namespace.
func Lookup(ctx context.Context, d command.Doer, name string, opts ...Option) ([]Object, error) {
	s, err := newSearch(d, opts)
	if err != nil {
		return nil, err
	}
	namespace := s.namespace
	if namespace == "" {
		namespace = keys.DefaultNamespace
	}
	var cs []candidate
	for _, k := range s.kinds {
		if c := k.candidate(namespace, name); len(c.keys) > 0 {
			cs = append(cs, c)
		}
	}
	all, err := s.describe(ctx, cs)
	if err != nil {
		return nil, fmt.Errorf("inspect: %v: %w", Text(name), wait.Because(ctx, err))
	}
	var found []Object
	for i := range cs {
		if o, ok := cs[i].object(all[i]); ok {
			found = append(found, o)
		}
	}
	if len(found) == 0 {
		return nil, &NotFoundError{Namespace: Text(namespace), Name: Text(name)}
	}
	return found, nil
}

// search is one walk over the keys of a server.
type search struct {
	options
	d       command.Doer
	pace    pace
	seen    map[string]struct{} // ids of what was found
	found   int                 // of it, what was yielded
	visited int64
}

func newSearch(d command.Doer, opts []Option) (*search, error) {
	o, err := build(opts)
	if err != nil {
		return nil, err
	}
	return &search{options: o, d: d, pace: pace{rate: o.rate}, seen: map[string]struct{}{}}, nil
}

// run calls found for each object until it returns false, and failed if the
// search ends early for another reason.
func (s *search) run(ctx context.Context, found func(Object) bool, failed func(error)) {
	page := int64(min(max(s.rate/20, minPage), maxPage))
	pattern := s.scanPattern()
	for cursor := uint64(0); ; {
		r, err := s.step(ctx, cursor, pattern, page)
		if err != nil {
			failed(s.broken(ctx, err))
			return
		}
		objects, err := s.objects(ctx, r.Keys)
		if err != nil {
			failed(s.broken(ctx, err))
			return
		}
		for id, o := range objects {
			if len(s.seen) == s.limit {
				failed(s.broken(ctx, ErrTooMany))
				return
			}
			s.seen[id] = struct{}{}
			if !found(o) {
				return
			}
			s.found++
		}
		if cursor = r.Cursor; cursor == 0 {
			return
		}
	}
}

// step has the server look at another page of keys.
func (s *search) step(ctx context.Context, cursor uint64, pattern string, page int64) (command.ScanResult, error) {
	if err := s.pace.spend(ctx, int(page)); err != nil {
		return command.ScanResult{}, err
	}
	r, err := command.Do(ctx, s.d, command.Scan(cursor, command.MATCH(pattern), command.COUNT(page)))
	if err == nil {
		s.visited += max(page, int64(len(r.Keys)))
	}
	return r, err
}

// objects yields what is new among keys, by id.
func (s *search) objects(ctx context.Context, found []string) (iter.Seq2[string, Object], error) {
	var cs []candidate
	asked := map[string]bool{}
	for _, key := range found {
		c, ok := candidateOf(key)
		if !ok || !s.admits(&c) {
			continue
		}
		id := c.id()
		if _, ok := s.seen[id]; ok || asked[id] {
			continue
		}
		asked[id] = true
		cs = append(cs, c)
	}
	if err := s.pace.spend(ctx, describing*len(cs)); err != nil {
		return nil, err
	}
	all, err := s.describe(ctx, cs)
	if err != nil {
		return nil, err
	}
	return func(yield func(string, Object) bool) {
		for i := range cs {
			if o, ok := cs[i].object(all[i]); ok && !yield(cs[i].id(), o) {
				return
			}
		}
	}, nil
}

// admits reports whether the options want what c may be.
func (s *search) admits(c *candidate) bool {
	if c.kind == nil && !s.unknown || c.kind != nil && !s.wants(c.kind) {
		return false
	}
	return (s.namespace == "" || s.namespace == c.name.Namespace) && matches(s.pattern, c.name.Name)
}

// broken says how far the search has come.
func (s *search) broken(ctx context.Context, err error) error {
	return &ScanError{Visited: s.visited, Found: s.found, Err: wait.Because(ctx, err)}
}

// describe asks of what form the keys of candidates are, in one round trip if
// the server knows the script and d can send several requests.
func (s *search) describe(ctx context.Context, cs []candidate) ([][]form, error) {
	all := make([][]form, len(cs))
	b, ok := s.d.(command.Batcher)
	if ok && len(cs) > 0 {
		requests := make([]command.Request, len(cs))
		for i := range cs {
			requests[i] = describeScript.Call(cs[i].keys)
		}
		var refused error
		err := b.DoBatch(ctx, requests, func(i int, v resp3.View, err error) {
			if err == nil {
				all[i], err = asForms(v)
			}
			if err != nil && !command.IsCode(err, "NOSCRIPT") && refused == nil {
				refused = err
			}
		})
		if err != nil || refused != nil {
			return nil, errors.Join(err, refused)
		}
	}
	for i := range cs {
		if all[i] == nil {
			var err error
			if all[i], err = command.RunScript(ctx, s.d, describeScript, asForms, cs[i].keys); err != nil {
				return nil, err
			}
		}
		if len(all[i]) != len(cs[i].keys) {
			return nil, &resp3.TypeError{Want: "an array for each key", Got: resp3.Array}
		}
	}
	return all, nil
}

func asForms(v resp3.View) ([]form, error) {
	forms := []form{} // not nil, which would be asked for again
	if v.Kind() != resp3.Array {
		return nil, &resp3.TypeError{Want: "an array", Got: v.Kind()}
	}
	for e := range v.Elems() {
		f, err := asForm(e)
		if err != nil {
			return nil, err
		}
		forms = append(forms, f)
	}
	return forms, nil
}

func asForm(v resp3.View) (f form, err error) {
	if v.Len() == 0 && v.Kind() == resp3.Array {
		return f, nil
	}
	if v.Len() != 4 || v.Kind() != resp3.Array {
		return f, &resp3.TypeError{Want: "an array of four", Got: v.Kind()}
	}
	c := v.Cursor()
	next := func() resp3.View { e, _ := c.Next(); return e }
	f.typ = next().Text()
	left, err := next().Int()
	f.left = time.Duration(left) * time.Millisecond
	f.kind, f.version = next().Text(), next().Text()
	if err == nil && f.typ == "" {
		err = &resp3.TypeError{Want: "a type", Got: v.Kind()}
	}
	return f, err
}

// pace keeps a search from taking more of the server than it may.
type pace struct {
	rate int       // keys a second
	free time.Time // when what was spent is paid off
}

// spend waits until what was spent before is paid off, then spends keys.
func (p *pace) spend(ctx context.Context, keys int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	if wait := p.free.Sub(now); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	} else {
		p.free = now // what was not used is not saved up
	}
	p.free = p.free.Add(time.Duration(keys) * time.Second / time.Duration(p.rate))
	return nil
}
