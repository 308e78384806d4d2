package command

import (
	"math"
	"strconv"
	"unsafe"
)

func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// appendFloat writes f as servers read it: infinities are "inf" and "-inf".
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}
