package command

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/redisx/redisx/resp3"
)

// FieldError reports a field of a Go struct that cannot be mapped, or that a
// reply does not fit. It holds no value, unless the Err of a type that reads
// itself does.
type FieldError struct {
	Type string // of the struct, such as "main.User"
	Name string // of the Go field; "" when the struct as a whole is wrong
	Err  error  // such as strconv.ErrSyntax, strconv.ErrRange
}

// Error names the struct and its field.
func (e *FieldError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("command: struct %s: %v", e.Type, e.Err)
	}
	return fmt.Sprintf("command: field %s of %s: %v", e.Name, e.Type, e.Err)
}

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// AsStruct reads a map of names and scalars, such as a hash, into a struct T:
// it is a Decoder for any T whose fields have a tag `redis:"name"`. A map
// without elements is Nil: there is no hash without fields.
//
// Fields of these kinds can be mapped: strings, []byte, booleans (1 and 0; true
// and false are read too), integers and floats in decimal, types that implement
// both encoding.TextMarshaler and encoding.TextUnmarshaler (time.Time), and
// pointers to all of these, which are nil where the map has no such name. A
// time.Duration is an integer of nanoseconds. Structs embedded without a tag
// count as if their fields were here. Fields without a tag are left alone, and
// so are names in the map that no field has; a field whose name the map lacks
// is zero.
//
// A field of another kind, a name twice and a tag on an unexported field are a
// *FieldError; so is a value that its field cannot hold.
func AsStruct[T any](v resp3.View) (T, error) {
	var x T
	p, err := planOf(reflect.TypeFor[T]())
	if err != nil {
		return x, err
	}
	if v.IsNull() || (v.Len() == 0 && (v.Kind() == resp3.Map || v.Kind() == resp3.Array)) {
		return x, Nil
	}
	dst := reflect.ValueOf(&x).Elem()
	err = each(v, func(k, e resp3.View) error {
		i, ok := p.byName[string(k.Bytes())]
		if !ok {
			return nil
		}
		f := &p.fields[i]
		if err := f.read(dst.FieldByIndex(f.index), e); err != nil {
			return &FieldError{Type: p.name, Name: f.goName, Err: err}
		}
		return nil
	})
	return x, err
}

// HGetAllAs is HGetAll read into a struct T by AsStruct; Nil when there is no
// hash.
func HGetAllAs[T any](key string) Cmd[T] { return As(HGetAll(key), AsStruct[T]) }

// Fields returns the fields of a struct, or of what points to one, as HSet and
// HSetEx take them, by the rules of AsStruct. Nil pointers are left out, and so
// are zero values of fields with the tag `redis:"name,omitempty"`: in a hash
// that is there they stay as they were.
func Fields(v any) ([]Pair, error) {
	src := reflect.ValueOf(v)
	if src.Kind() == reflect.Pointer {
		src = src.Elem()
	}
	if !src.IsValid() {
		return nil, &FieldError{Type: fmt.Sprintf("%T", v), Err: errors.New("it is nil")}
	}
	p, err := planOf(src.Type())
	if err != nil {
		return nil, err
	}
	if !src.CanAddr() && p.needsAddr { // for methods of pointers
		there := reflect.New(src.Type()).Elem()
		there.Set(src)
		src = there
	}
	out := make([]Pair, 0, len(p.fields))
	for i := range p.fields {
		f := &p.fields[i]
		x := src.FieldByIndex(f.index)
		if (f.omitEmpty && x.IsZero()) || (x.Kind() == reflect.Pointer && x.IsNil()) {
			continue
		}
		text, err := f.write(x)
		if err != nil {
			return nil, &FieldError{Type: p.name, Name: f.goName, Err: err}
		}
		out = append(out, Pair{f.name, text})
	}
	return out, nil
}

// plan is how a struct is mapped.
type plan struct {
	name      string
	fields    []mapped
	byName    map[string]int
	needsAddr bool // some field writes itself by a method of its pointer
}

// mapped is one field of a struct.
type mapped struct {
	index     []int
	goName    string
	name      string // in the map
	omitEmpty bool
	kind
}

// kind is how values of one type are read and written.
type kind struct {
	read  func(dst reflect.Value, v resp3.View) error
	write func(src reflect.Value) (string, error)
}

// plans holds what planOf found, a *plan or an error, by reflect.Type.
var plans sync.Map

func planOf(t reflect.Type) (*plan, error) {
	found, ok := plans.Load(t)
	if !ok {
		p, err := newPlan(t)
		found = any(p)
		if err != nil {
			found = err
		}
		plans.Store(t, found)
	}
	if err, ok := found.(error); ok {
		return nil, err
	}
	return found.(*plan), nil
}

func newPlan(t reflect.Type) (*plan, error) {
	p := &plan{name: t.String(), byName: map[string]int{}}
	if t.Kind() != reflect.Struct {
		return nil, &FieldError{Type: p.name, Err: errors.New("it is no struct")}
	}
	if err := p.add(t, nil); err != nil {
		return nil, err
	}
	if len(p.fields) == 0 {
		return nil, &FieldError{Type: p.name, Err: errors.New("no field has a tag such as `redis:\"name\"`")}
	}
	return p, nil
}

func (p *plan) add(t reflect.Type, above []int) error {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int(nil), above...), i)
		tag, tagged := f.Tag.Lookup("redis")
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct {
			if err := p.add(f.Type, index); err != nil {
				return err
			}
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		if !tagged || tag == "-" {
			continue
		}
		m := mapped{index: index, goName: f.Name, name: name, omitEmpty: option == "omitempty"}
		var err error
		switch _, twice := p.byName[name]; {
		case !f.IsExported():
			err = errors.New("it is not exported")
		case name == "":
			err = errors.New("its tag has no name")
		case option != "" && !m.omitEmpty:
			err = errors.New("its tag has an option other than omitempty")
		case twice:
			err = errors.New("another field has the same name in its tag")
		default:
			m.kind, err = p.kindOf(f.Type)
		}
		if err != nil {
			return &FieldError{Type: p.name, Name: f.Name, Err: err}
		}
		p.byName[name] = len(p.fields)
		p.fields = append(p.fields, m)
	}
	return nil
}

func (p *plan) kindOf(t reflect.Type) (kind, error) {
	if t.Kind() != reflect.Pointer {
		return p.scalarKind(t)
	}
	k, err := p.scalarKind(t.Elem())
	return kind{
		read: func(dst reflect.Value, v resp3.View) error {
			if v.IsNull() {
				dst.SetZero()
				return nil
			}
			x := reflect.New(t.Elem())
			if err := k.read(x.Elem(), v); err != nil {
				return err
			}
			dst.Set(x)
			return nil
		},
		write: func(src reflect.Value) (string, error) { return k.write(src.Elem()) },
	}, err
}

var (
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	bytesType       = reflect.TypeFor[[]byte]()
)

// scalarKind returns the kind of a type that one string holds.
func (p *plan) scalarKind(t reflect.Type) (kind, error) {
	if pt := reflect.PointerTo(t); pt.Implements(textMarshaler) && pt.Implements(textUnmarshaler) {
		p.needsAddr = true
		return kind{
			read: text(func(dst reflect.Value, s string) error {
				return dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
			}),
			write: func(src reflect.Value) (string, error) {
				b, err := src.Addr().Interface().(encoding.TextMarshaler).MarshalText()
				return string(b), err
			},
		}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return kind{
			text(func(dst reflect.Value, s string) error { dst.SetString(s); return nil }),
			func(src reflect.Value) (string, error) { return src.String(), nil },
		}, nil
	case reflect.Bool:
		return kind{text(readBool), writeBool}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := t.Bits()
		return kind{
			text(func(dst reflect.Value, s string) error {
				n, err := strconv.ParseInt(s, 10, bits)
				dst.SetInt(n)
				return number(err)
			}),
			func(src reflect.Value) (string, error) { return strconv.FormatInt(src.Int(), 10), nil },
		}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		bits := t.Bits()
		return kind{
			text(func(dst reflect.Value, s string) error {
				n, err := strconv.ParseUint(s, 10, bits)
				dst.SetUint(n)
				return number(err)
			}),
			func(src reflect.Value) (string, error) { return strconv.FormatUint(src.Uint(), 10), nil },
		}, nil
	case reflect.Float32, reflect.Float64:
		bits := t.Bits()
		return kind{
			text(func(dst reflect.Value, s string) error {
				n, err := strconv.ParseFloat(s, bits)
				dst.SetFloat(n)
				return number(err)
			}),
			func(src reflect.Value) (string, error) { return strconv.FormatFloat(src.Float(), 'g', -1, bits), nil },
		}, nil
	}
	if t.ConvertibleTo(bytesType) && t.Kind() == reflect.Slice {
		return kind{
			text(func(dst reflect.Value, s string) error { dst.SetBytes([]byte(s)); return nil }),
			func(src reflect.Value) (string, error) { return string(src.Bytes()), nil },
		}, nil
	}
	return kind{}, fmt.Errorf("a field of type %s cannot be mapped", t)
}

// text returns a reader of scalars by their text.
func text(read func(dst reflect.Value, s string) error) func(reflect.Value, resp3.View) error {
	return func(dst reflect.Value, v resp3.View) error {
		if v.IsNull() || v.Kind().IsAggregate() {
			return &resp3.TypeError{Want: "a string or number", Got: v.Kind()}
		}
		if v.Kind() == resp3.Boolean {
			b, err := v.Bool()
			if err != nil {
				return err
			}
			return read(dst, strconv.FormatBool(b))
		}
		return read(dst, string(v.Bytes()))
	}
}

func readBool(dst reflect.Value, s string) error {
	switch s {
	case "1", "true":
		dst.SetBool(true)
	case "0", "false":
		dst.SetBool(false)
	default:
		return strconv.ErrSyntax
	}
	return nil
}

func writeBool(src reflect.Value) (string, error) {
	if src.Bool() {
		return "1", nil
	}
	return "0", nil
}

// number strips the text, which may be secret, from an error of strconv.
func number(err error) error {
	var n *strconv.NumError
	if errors.As(err, &n) {
		return n.Err
	}
	return err
}
