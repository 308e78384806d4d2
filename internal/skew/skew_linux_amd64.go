package skew

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Clock is the wall clock of one process. One goroutine may use it at a time.
type Clock struct {
	pid     int
	offsets []int64 // where the functions read what they add, in seconds
}

// function is what takes the place of one of the vDSO. All of them make the
// system call and add the offset, which lies behind them, to the seconds.
type function struct {
	symbol string
	code   []byte
}

// offsetAt is where the offset lies in a function: behind the code of each, and
// aligned, so that a write to it is seen whole or not at all.
const offsetAt = 24

var functions = []function{
	{"__vdso_clock_gettime", []byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 10, // jne to ret: not CLOCK_REALTIME
		0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [offset]
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	}},
	{"__vdso_gettimeofday", []byte{
		0xb8, 96, 0, 0, 0, // mov eax, SYS_gettimeofday
		0x0f, 0x05, // syscall
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 10, // jz to ret: only the time zone was asked for
		0x48, 0x8b, 0x0d, 5, 0, 0, 0, // mov rcx, [offset]
		0x48, 0x01, 0x0f, // add [rdi], rcx
		0xc3, // ret
	}},
	{"__vdso_time", []byte{
		0xb8, 201, 0, 0, 0, // mov eax, SYS_time
		0x0f, 0x05, // syscall
		0x48, 0x03, 0x05, 10, 0, 0, 0, // add rax, [offset]
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 3, // jz to ret
		0x48, 0x89, 0x07, // mov [rdi], rax
		0xc3, // ret
	}},
}

// attachTries bounds how often Attach looks for a moment in which no thread asks
// for the time.
const attachTries = 100

// Attach prepares a running process. Its clock does not change yet. It returns
// an error if the process is gone or may not be traced. It is called once for a
// process.
func Attach(pid int) (*Clock, error) {
	for range attachTries {
		c, err := attach(pid)
		if !errors.Is(err, errBusy) {
			return c, err
		}
		time.Sleep(time.Millisecond)
	}
	return nil, errBusy
}

var errBusy = errors.New("skew: the process asks for the time without a pause")

func attach(pid int) (*Clock, error) {
	if err := stop(pid); err != nil {
		return nil, err
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	base, size, err := vdso(pid)
	if err != nil {
		return nil, err
	}
	// A thread that stands in the middle of a function must not find other
	// instructions there when it goes on.
	busy, err := inside(pid, base, base+size)
	if err != nil {
		return nil, err
	}
	if busy {
		return nil, errBusy
	}
	return patch(pid, base, size)
}

// patch puts our functions in the place of the vDSO's.
func patch(pid int, base, size int64) (*Clock, error) {
	mem, err := os.OpenFile(proc(pid, "mem"), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("skew: %w", err)
	}
	defer mem.Close()
	image, err := elf.NewFile(io.NewSectionReader(mem, base, size))
	if err != nil {
		return nil, fmt.Errorf("skew: the vDSO: %w", err)
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("skew: the vDSO: %w", err)
	}
	c := &Clock{pid: pid}
	for _, f := range functions {
		for _, s := range symbols {
			if s.Name != f.symbol {
				continue
			}
			if s.Size < offsetAt+8 || s.Value%8 != 0 {
				return nil, fmt.Errorf("skew: %s has %d bytes at %#x: %w", s.Name, s.Size, s.Value, errors.ErrUnsupported)
			}
			at := base + int64(s.Value)
			code := make([]byte, offsetAt+8)
			copy(code, f.code)
			if _, err := mem.WriteAt(code, at); err != nil {
				return nil, fmt.Errorf("skew: %w", err)
			}
			c.offsets = append(c.offsets, at+offsetAt)
		}
	}
	if len(c.offsets) != len(functions) {
		return nil, fmt.Errorf("skew: %d of %d functions in the vDSO: %w", len(c.offsets), len(functions), errors.ErrUnsupported)
	}
	return c, nil
}

// Set moves the clock: the process sees the true time + d from now on. d counts
// from the true time, not from what was set before, in whole seconds.
func (c *Clock) Set(d time.Duration) error {
	if d%time.Second != 0 {
		return fmt.Errorf("skew: %v is not in whole seconds", d)
	}
	mem, err := os.OpenFile(proc(c.pid, "mem"), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("skew: %w", err)
	}
	defer mem.Close()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(d/time.Second))
	for _, at := range c.offsets {
		if _, err := mem.WriteAt(b[:], at); err != nil {
			return fmt.Errorf("skew: %w", err)
		}
	}
	return nil
}

func proc(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// stop stops the process and returns when all its threads stand still.
func stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("skew: process %d: %w", pid, err)
	}
	for range 1000 {
		still := true
		err := threads(pid, "stat", func(stat string) {
			// pid (name) state …; the name may contain anything.
			i := strings.LastIndexByte(stat, ')')
			still = still && strings.HasPrefix(stat[i+1:], " T")
		})
		if err != nil {
			return err
		}
		if still {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("skew: process %d did not stop", pid)
}

// inside reports whether a thread's next instruction is in the range.
func inside(pid int, from, to int64) (bool, error) {
	found := false
	err := threads(pid, "syscall", func(text string) {
		words := strings.Fields(text) // the last is the program counter
		if len(words) == 0 {
			return
		}
		pc, err := strconv.ParseInt(strings.TrimPrefix(words[len(words)-1], "0x"), 16, 64)
		found = found || err != nil || (pc >= from && pc < to)
	})
	return found, err
}

// threads hands over one file of each thread.
func threads(pid int, name string, f func(text string)) error {
	files, err := filepath.Glob(proc(pid, "task/*/"+name))
	if err != nil {
		return fmt.Errorf("skew: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // that thread has ended
		}
		if err != nil {
			return fmt.Errorf("skew: %w", err)
		}
		f(string(text))
	}
	return nil
}

// vdso returns where the process has its vDSO.
func vdso(pid int) (base, size int64, err error) {
	f, err := os.Open(proc(pid, "maps"))
	if err != nil {
		return 0, 0, fmt.Errorf("skew: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if !strings.HasSuffix(lines.Text(), "[vdso]") {
			continue
		}
		var end int64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &base, &end); err != nil {
			return 0, 0, fmt.Errorf("skew: %w", err)
		}
		return base, end - base, nil
	}
	return 0, 0, fmt.Errorf("skew: process %d has no vDSO: %w", pid, errors.ErrUnsupported)
}
