package resp3_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redisx/redisx/resp3"
)

// steps is a source that plays reads: a string is data, an error an error,
// both at once data with an error.
type steps []struct {
	data string
	err  error
}

func (s *steps) Read(p []byte) (int, error) {
	if len(*s) == 0 {
		return 0, io.EOF
	}
	step := (*s)[0]
	*s = (*s)[1:]
	return copy(p, step.data), step.err
}

func TestAReadDeadlineDoesNotBreakTheStream(t *testing.T) {
	t.Parallel()
	src := steps{{"$5\r\nhe", nil}, {"", os.ErrDeadlineExceeded}, {"l", os.ErrDeadlineExceeded}, {"lo\r\n", nil}}
	r := resp3.NewReader(&src, resp3.Limits{})
	for i := range 2 {
		if _, err := r.Read(); err != os.ErrDeadlineExceeded {
			t.Fatalf("read %d: %v, want the deadline", i, err)
		}
	}
	v, err := r.Read()
	if err != nil || v.Text() != "hello" {
		t.Errorf("after the deadlines %q, %v", v.Text(), err)
	}
}

func TestADeadlineInsideALargeBulkDoesNotBreakTheStream(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789abcdef", 10<<16) // 10 MiB
	src := &flaky{src: strings.NewReader("*2\r\n$10485760\r\n" + body + "\r\n:7\r\n:8\r\n"), rand: rand.New(rand.NewPCG(1, 2))}
	r := resp3.NewReader(src, resp3.Limits{})
	var v resp3.View
	var err error
	for {
		if v, err = r.Read(); err != os.ErrDeadlineExceeded {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c := v.Cursor()
	s, _ := c.Next()
	n, _ := c.Next()
	if i, _ := n.Int(); s.Text() != body || i != 7 {
		t.Errorf("read %d bytes and %d", s.Len(), i)
	}
	src.rand = nil
	if v, err := r.Read(); err != nil || v.Text() != "8" {
		t.Errorf("the next frame is %q, %v", v.Text(), err)
	}
}

// flaky fails now and then, with or without bytes.
type flaky struct {
	src  io.Reader
	rand *rand.Rand
}

func (f *flaky) Read(p []byte) (int, error) {
	if f.rand == nil {
		return f.src.Read(p)
	}
	if f.rand.IntN(4) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := f.src.Read(p[:1+f.rand.IntN(len(p))])
	if f.rand.IntN(4) == 0 && err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func TestSourceErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		src   io.Reader
		first string // of the frame before the error
		want  error
	}{
		{"the end between frames is io.EOF", strings.NewReader("+OK\r\n"), "OK", io.EOF},
		{"the end inside a frame is unexpected", strings.NewReader("+OK\r\n+O"), "OK", io.ErrUnexpectedEOF},
		{"the end after an attribute is unexpected", strings.NewReader("+OK\r\n|1\r\n+k\r\n+v\r\n"), "OK", io.ErrUnexpectedEOF},
		{"the end inside a large bulk is unexpected", strings.NewReader("+OK\r\n$9000000\r\n" + strings.Repeat("x", 5_000_000)), "OK", io.ErrUnexpectedEOF},
		{"an error comes back as it is", &steps{{"+OK\r\n", nil}, {"", broken}}, "OK", broken},
		{"bytes that came with an error count", &steps{{"+OK\r\n", broken}}, "OK", broken},
		{"a source that never moves", &steps{{"+OK\r\n", nil}, {"", broken}}, "OK", broken},
		{"a source that lies about its count", liar(-1), "", nil},
		{"a source that claims too much", liar(1 << 30), "", nil},
		{"a source that returns nothing for ever", liar(0), "", io.ErrNoProgress},
		{"a timeout", iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("+OK\r\n"))), "", iotest.ErrTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := resp3.NewReader(tt.src, resp3.Limits{})
			v, err := r.Read()
			if tt.first != "" {
				if err != nil || v.Text() != tt.first {
					t.Fatalf("the first frame is %q, %v", v.Text(), err)
				}
				_, err = r.Read()
			}
			if err == nil || tt.want != nil && err != tt.want {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

type liar int

func (l liar) Read([]byte) (int, error) { return int(l), nil }

func TestViewsOfOneFillStayValid(t *testing.T) {
	t.Parallel()
	in := "+one\r\n*?\r\n$?\r\n;2\r\nab\r\n;0\r\n.\r\n$?\r\n;3\r\nxyz\r\n;0\r\n*2\r\n:1\r\n:2\r\n$5\r\nhello\r\n"
	r := resp3.NewReader(strings.NewReader(in), resp3.Limits{})
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	var views []resp3.View
	for {
		v, ok, err := r.Poll()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		views = append(views, v)
	}
	var got []string
	for _, v := range views {
		got = append(got, renderView(v))
	}
	if s, want := strings.Join(got, " "), `+"one" *[$"ab"] $"xyz" *[:1 :2] $"hello"`; s != want {
		t.Errorf("views %s, want %s", s, want)
	}
}

func TestPollNeverReads(t *testing.T) {
	t.Parallel()
	r := resp3.NewReader(iotest.ErrReader(errors.New("read")), resp3.Limits{})
	if _, ok, err := r.Poll(); ok || err != nil {
		t.Errorf("Poll of an empty Reader = %v, %v", ok, err)
	}
	if r.Buffered() != 0 || len(r.Frame()) != 0 {
		t.Errorf("an empty Reader holds %d bytes and the frame %q", r.Buffered(), r.Frame())
	}
}

func TestBufferedCountsWhatIsNotConsumed(t *testing.T) {
	t.Parallel()
	r := resp3.NewReader(strings.NewReader("+OK\r\n+O"), resp3.Limits{})
	if _, err := r.Read(); err != nil || r.Buffered() != 2 {
		t.Errorf("Buffered = %d, want 2 (%v)", r.Buffered(), err)
	}
	r.Release()
	if r.Buffered() != 2 {
		t.Errorf("Release dropped bytes")
	}
}

// source is filled by the test and never ends.
type source struct{ bytes.Buffer }

func (s *source) Read(p []byte) (int, error) {
	n, _ := s.Buffer.Read(p)
	if n == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return n, nil
}

func TestAnIdleReaderIsSmall(t *testing.T) {
	// Not parallel: it measures the heap.
	for _, tt := range []struct {
		name string
		idle func(src *source, r *resp3.Reader)
	}{
		{"after Release", func(_ *source, r *resp3.Reader) { r.Release() }},
		{"waiting after Release", func(_ *source, r *resp3.Reader) {
			r.Release()
			r.Read()
		}},
		{"after a few small replies", func(src *source, r *resp3.Reader) {
			for range 40 {
				src.WriteString("+OK\r\n")
				r.Read()
			}
			r.Read() // waits, as a connection does
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := heap()
			src := new(source)
			readers := make([]*resp3.Reader, 16)
			for i := range readers {
				readers[i] = resp3.NewReader(src, resp3.Limits{})
				for _, size := range []string{"65536", "1048576", "3000000"} {
					n := map[string]int{"65536": 65536, "1048576": 1 << 20, "3000000": 3_000_000}[size]
					src.WriteString("$" + size + "\r\n" + strings.Repeat("x", n) + "\r\n")
					if v, err := readers[i].Read(); err != nil || v.Len() != n {
						t.Fatal(v.Len(), err)
					}
				}
				tt.idle(src, readers[i])
			}
			src.Buffer = bytes.Buffer{}
			if got := (heap() - base) / len(readers); got > 17<<10 {
				t.Errorf("an idle Reader holds %d bytes, want 16 KiB", got)
			}
			runtime.KeepAlive(readers)
		})
	}
}

// TestRepliesLargeAndSmall runs a mixture of sizes through one Reader in random
// pieces: every buffer move, growth and join must keep the bytes.
func TestRepliesLargeAndSmall(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	var in bytes.Buffer
	var want []int
	for range 300 {
		n := rnd.IntN(1 << (4 + rnd.IntN(18)))
		want = append(want, n)
		in.Write(resp3.AppendBulk(resp3.AppendHeader(nil, resp3.Array, 2), bytes.Repeat([]byte{byte(n)}, n)))
		in.WriteString(":42\r\n")
	}
	r := resp3.NewReader(&pieces{&in, rnd}, resp3.Limits{})
	for i, n := range want {
		v, err := r.Read()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		c := v.Cursor()
		s, _ := c.Next()
		if s.Len() != n || bytes.Count(s.Bytes(), []byte{byte(n)}) != n {
			t.Fatalf("frame %d: %d bytes, want %d", i, s.Len(), n)
		}
		if e, _ := c.Next(); e.Text() != "42" {
			t.Fatalf("frame %d: %q after the bulk", i, e.Text())
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

type pieces struct {
	src  io.Reader
	rand *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) { return p.src.Read(b[:1+p.rand.IntN(len(b))]) }

func TestPollAllocatesNothing(t *testing.T) {
	unit := "+OK\r\n:12345\r\n$5\r\nhello\r\n*2\r\n$1\r\na\r\n:1\r\n" + mix + "_\r\n#t\r\n,1.5\r\n(12\r\n=5\r\ntxt:x\r\n"
	r := resp3.NewReader(&repeat{body: unit, times: 1 << 20}, resp3.Limits{})
	for range 10_000 {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	allocs := testing.AllocsPerRun(10_000, func() {
		v, _ := r.Read()
		c := v.Cursor()
		for c.Len() > 0 {
			e, _ := c.Next()
			n += e.Len()
		}
	})
	if allocs != 0 || n == 0 {
		t.Errorf("%v allocations a frame, want 0", allocs)
	}
}
