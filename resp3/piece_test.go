package resp3

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// inPieces reads the next string in pieces.
func inPieces(r *Reader) (string, error) {
	for {
		_, ok, more := r.Begin()
		if ok {
			break
		}
		if !more {
			if v, ok, err := r.Poll(); ok || err != nil {
				return "not in pieces: " + v.Text(), err
			}
		}
		if err := r.Fill(); err != nil {
			return "", err
		}
	}
	var text strings.Builder
	for {
		b, last, err := r.Piece()
		text.Write(b)
		if last || err != nil {
			return text.String(), err
		}
		if err := r.Fill(); err != nil {
			return text.String(), err
		}
	}
}

func TestPiecesMakeTheWholeStringHoweverItArrives(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	in := "$5\r\nhello\r\n$0\r\n\r\n+OK\r\n$-1\r\n_\r\n$4\r\n\r\n\r\n\r\n$1000000\r\n" + big + "\r\n=7\r\ntxt:abc\r\n$?\r\n;2\r\nxy\r\n;0\r\n:7\r\n$1\r\nz\r\n"
	want := []string{"hello", "", "not in pieces: OK", "not in pieces: ", "not in pieces: ", "\r\n\r\n", big, "not in pieces: abc", "not in pieces: xy", "not in pieces: 7", "z"}
	for name, src := range map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"in halves":    iotest.HalfReader,
	} {
		r := NewReader(src(strings.NewReader(in)), Limits{})
		for i, w := range want {
			got, err := inPieces(r)
			if err != nil || got != w {
				t.Fatalf("%s: string %d: got %.20q (%d bytes), error %v; want %.20q (%d bytes)", name, i, got, len(got), err, w, len(w))
			}
		}
		if _, err := inPieces(r); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

// A string in pieces takes no more memory than the read buffer.
func TestPiecesNeedNoMemoryForTheWhole(t *testing.T) {
	const size = 64 << 20
	r := NewReader(io.MultiReader(strings.NewReader("$67108864\r\n"), io.LimitReader(zeros{}, size), strings.NewReader("\r\n")), Limits{})
	r.Fill()
	n, ok, _ := r.Begin()
	if !ok || n != size {
		t.Fatalf("begun %v, %d bytes", ok, n)
	}
	for got := 0; ; {
		b, last, err := r.Piece()
		if got += len(b); last {
			if got != size {
				t.Errorf("%d bytes, want %d", got, size)
			}
			break
		}
		if err == nil {
			err = r.Fill()
		}
		if err != nil {
			t.Fatal(err)
		}
		if m := r.Memory(); m > 1<<20 {
			t.Fatalf("%d bytes of memory", m)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestPiecesOfAMalformedStringAreAnError(t *testing.T) {
	for _, in := range []string{"$2\r\nabc\r\n", "$2\r\nab\n\n", "$2\r\nab\rx", "$x\r\n", "$\r\n", "$99999999999999\r\n", "$1\rx"} {
		r := NewReader(strings.NewReader(in), Limits{})
		_, err := inPieces(r)
		var p *ProtocolError
		if !errors.As(err, &p) {
			t.Errorf("%q: error %v", in, err)
		}
		if _, _, again := r.Poll(); !errors.As(again, &p) {
			t.Errorf("%q: the reader lives on: %v", in, again)
		}
	}
	r := NewReader(strings.NewReader("$3\r\nabc\r\n"), Limits{Bulk: 2})
	var p *ProtocolError
	if got, err := inPieces(r); !errors.As(err, &p) {
		t.Errorf("over the limit: %q, %v", got, err)
	}
	r = NewReader(strings.NewReader("$9\r\nabc"), Limits{})
	if got, err := inPieces(r); err != io.EOF || got != "abc" {
		t.Errorf("cut: %q, %v", got, err)
	}
}
