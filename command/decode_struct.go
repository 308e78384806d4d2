package command

import (
	"net"
	"strconv"
	"time"

	"github.com/redisx/redisx/resp3"
)

// each visits the pairs of a map, or of the flat array that RESP2 sends. An
// error among the keys or values ends it.
func each(v resp3.View, visit func(key, value resp3.View) error) error {
	flat := v.Kind() == resp3.Array && v.Len()%2 == 0
	if v.Kind() != resp3.Map && !flat {
		return mismatch(v, "a map")
	}
	c := v.Cursor()
	for k, ok := c.Next(); ok; k, ok = c.Next() {
		e, _ := c.Next()
		if err := k.Err(); err != nil {
			return err
		}
		if err := e.Err(); err != nil {
			return err
		}
		if err := visit(k, e); err != nil {
			return err
		}
	}
	return nil
}

// into decodes v into *dst.
func into[T any](dst *T, v resp3.View, elem Decoder[T]) (err error) {
	*dst, err = inside(elem, v)
	return err
}

// tuple returns the elements of an array that has at least n of them.
func tuple(v resp3.View, n int) ([]resp3.View, error) {
	if v.Kind() != resp3.Array && v.Kind() != resp3.Push {
		return nil, mismatch(v, "an array")
	}
	if v.Len() < n {
		return nil, &RangeError{Want: "an array of at least " + strconv.Itoa(n) + " elements"}
	}
	var elems []resp3.View
	for e := range v.Elems() {
		if err := e.Err(); err != nil {
			return nil, err
		}
		elems = append(elems, e)
	}
	return elems, nil
}

// AsStringMap reads a map of strings, or the flat array that RESP2 sends.
func AsStringMap(v resp3.View) (map[string]string, error) { return stringMap(v, AsString) }

// AsIntMap reads a map of integers, or a flat array of names and integers.
func AsIntMap(v resp3.View) (map[string]int64, error) { return stringMap(v, AsInt) }

func stringMap[T any](v resp3.View, elem Decoder[T]) (map[string]T, error) {
	m := make(map[string]T, room(v.Len()/2))
	err := each(v, func(k, e resp3.View) error {
		key, err := inside(AsString, k)
		if err == nil {
			m[key], err = inside(elem, e)
		}
		return err
	})
	return m, err
}

// nested reports whether an array holds arrays: RESP3 sends pairs as such,
// RESP2 one after the other.
func nested(v resp3.View) bool {
	c := v.Cursor()
	e, ok := c.Next()
	return ok && e.Kind() == resp3.Array
}

// eachPair visits pairs, nested or flat. A null array has none.
func eachPair(v resp3.View, visit func(a, b resp3.View) error) error {
	if v.IsNull() {
		return nil
	}
	if !nested(v) {
		return each(v, visit)
	}
	for e := range v.Elems() {
		if e.Kind() != resp3.Array || e.Len() != 2 {
			return mismatch(e, "a pair")
		}
		if err := each(e, visit); err != nil {
			return err
		}
	}
	return nil
}

// AsPairs reads names and values in their order.
func AsPairs(v resp3.View) ([]Pair, error) {
	out := make([]Pair, 0, room(v.Len()/2))
	err := eachPair(v, func(k, e resp3.View) error {
		var p Pair
		if err := into(&p.Key, k, AsString); err != nil {
			return err
		}
		if err := into(&p.Value, e, AsString); err != nil {
			return err
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// AsPair reads one name and its value, or Nil for null or nothing.
func AsPair(v resp3.View) (Pair, error) {
	ps, err := AsPairs(v)
	return only(ps, err)
}

func only[T any](list []T, err error) (T, error) {
	var zero T
	switch {
	case err != nil:
		return zero, err
	case len(list) == 0:
		return zero, Nil
	case len(list) > 1:
		return zero, &RangeError{Want: "one pair"}
	}
	return list[0], nil
}

// AsZs reads members with their scores, in the server's order.
func AsZs(v resp3.View) ([]Z, error) {
	out := make([]Z, 0, room(v.Len()/2))
	err := eachPair(v, func(k, e resp3.View) error {
		var z Z
		if err := into(&z.Member, k, AsString); err != nil {
			return err
		}
		if err := into(&z.Score, e, AsFloat); err != nil {
			return err
		}
		out = append(out, z)
		return nil
	})
	return out, err
}

// AsZ reads one member with its score, or Nil for null or nothing.
func AsZ(v resp3.View) (Z, error) {
	zs, err := AsZs(v)
	return only(zs, err)
}

// AsRank reads a rank with its score, or Nil.
func AsRank(v resp3.View) (r Rank, err error) {
	if v.IsNull() {
		return r, Nil
	}
	e, err := tuple(v, 2)
	if err != nil {
		return r, err
	}
	if err = into(&r.Rank, e[0], AsInt); err == nil {
		err = into(&r.Score, e[1], AsFloat)
	}
	return r, err
}

// AsPopped reads a key and the values popped from it, or Nil.
func AsPopped(v resp3.View) (p Popped, err error) {
	if v.IsNull() {
		return p, Nil
	}
	e, err := tuple(v, 2)
	if err != nil {
		return p, err
	}
	if err = into(&p.Key, e[0], AsString); err == nil {
		p.Values, err = AsStrings(e[1])
	}
	return p, err
}

// AsPoppedZ reads a key and the members popped from it, or Nil.
func AsPoppedZ(v resp3.View) (p PoppedZ, err error) {
	if v.IsNull() {
		return p, Nil
	}
	e, err := tuple(v, 2)
	if err != nil {
		return p, err
	}
	if err = into(&p.Key, e[0], AsString); err != nil {
		return p, err
	}
	if len(e) == 3 { // BZPOPMIN: key, member, score
		p.Members = make([]Z, 1)
		if err = into(&p.Members[0].Member, e[1], AsString); err == nil {
			err = into(&p.Members[0].Score, e[2], AsFloat)
		}
		return p, err
	}
	p.Members, err = AsZs(e[1])
	return p, err
}

// scan reads a cursor and what one step of a scan found.
func scan[T any](v resp3.View, found Decoder[T]) (cursor uint64, x T, err error) {
	e, err := tuple(v, 2)
	if err != nil {
		return 0, x, err
	}
	text, err := inside(AsString, e[0])
	if err != nil {
		return 0, x, err
	}
	cursor, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, x, &RangeError{Want: "a cursor"}
	}
	x, err = found(e[1])
	return cursor, x, err
}

// AsScan reads one step of SCAN or SSCAN.
func AsScan(v resp3.View) (r ScanResult, err error) {
	r.Cursor, r.Keys, err = scan(v, AsStrings)
	return r, err
}

// AsHScan reads one step of HSCAN.
func AsHScan(v resp3.View) (r HScanResult, err error) {
	r.Cursor, r.Fields, err = scan(v, AsPairs)
	return r, err
}

// AsZScan reads one step of ZSCAN.
func AsZScan(v resp3.View) (r ZScanResult, err error) {
	r.Cursor, r.Members, err = scan(v, AsZs)
	return r, err
}

// AsTime reads the seconds and microseconds that TIME replies.
func AsTime(v resp3.View) (time.Time, error) {
	e, err := tuple(v, 2)
	if err != nil {
		return time.Time{}, err
	}
	sec, err := e[0].Int()
	if err != nil {
		return time.Time{}, err
	}
	micro, err := e[1].Int()
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(sec, micro*int64(time.Microsecond)), nil
}

// AsRole reads the reply of ROLE.
func AsRole(v resp3.View) (r Role, err error) {
	e, err := tuple(v, 2)
	if err != nil {
		return r, err
	}
	if err = into(&r.Name, e[0], AsString); err != nil {
		return r, err
	}
	switch {
	case r.Name == "master" && len(e) >= 3:
		if err = into(&r.Offset, e[1], AsInt); err == nil {
			r.Replicas, err = slice(e[2], asReplica)
		}
	case r.Name == "slave" && len(e) >= 5:
		var host string
		var port int64
		if err = into(&host, e[1], AsString); err != nil {
			return r, err
		}
		if err = into(&port, e[2], AsInt); err != nil {
			return r, err
		}
		r.Primary = net.JoinHostPort(host, strconv.FormatInt(port, 10))
		if err = into(&r.State, e[3], AsString); err == nil {
			err = into(&r.Offset, e[4], AsInt)
		}
	case r.Name == "sentinel":
		r.Masters, err = AsStrings(e[1])
	default:
		err = &RangeError{Want: "a role with its state"}
	}
	return r, err
}

func asReplica(v resp3.View) (r Replica, err error) {
	e, err := tuple(v, 3)
	if err != nil {
		return r, err
	}
	if err = into(&r.Host, e[0], AsString); err != nil {
		return r, err
	}
	if err = into(&r.Port, e[1], AsString); err != nil {
		return r, err
	}
	err = into(&r.Offset, e[2], AsInt)
	return r, err
}

// AsSlowLog reads the entries of the log of slow commands.
func AsSlowLog(v resp3.View) ([]SlowEntry, error) { return slice(v, asSlowEntry) }

func asSlowEntry(v resp3.View) (s SlowEntry, err error) {
	e, err := tuple(v, 4)
	if err != nil {
		return s, err
	}
	var micros int64
	if err = into(&s.ID, e[0], AsInt); err != nil {
		return s, err
	}
	if err = into(&s.At, e[1], AsUnix); err != nil {
		return s, err
	}
	if err = into(&micros, e[2], AsInt); err != nil {
		return s, err
	}
	s.Took = time.Duration(micros) * time.Microsecond
	if s.Args, err = AsStrings(e[3]); err != nil || len(e) < 6 {
		return s, err
	}
	if err = into(&s.Client, e[4], AsString); err == nil {
		err = into(&s.Name, e[5], AsString)
	}
	return s, err
}

// AsLibraries reads the libraries of functions that the server holds.
func AsLibraries(v resp3.View) ([]LibraryInfo, error) { return slice(v, asLibrary) }

func asLibrary(v resp3.View) (l LibraryInfo, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "library_name":
			return into(&l.Name, e, AsString)
		case "engine":
			return into(&l.Engine, e, AsString)
		case "functions":
			return into(&l.Functions, e, AsSlice(asFunction))
		case "library_code":
			return into(&l.Code, e, AsString)
		}
		return nil
	})
	return l, err
}

func asFunction(v resp3.View) (f FunctionInfo, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "name":
			return into(&f.Name, e, AsString)
		case "description":
			return into(&f.Description, e, AsOptional(AsString))
		case "flags":
			return into(&f.Flags, e, AsStrings)
		}
		return nil
	})
	return f, err
}
