package resp3_test

import (
	"fmt"
	"strings"

	"github.com/redisx/redisx/resp3"
)

func ExampleReader() {
	conn := strings.NewReader("%2\r\n+name\r\n$5\r\nalice\r\n+visits\r\n:3\r\n")
	r := resp3.NewReader(conn, resp3.Limits{})
	v, err := r.Read()
	if err != nil {
		fmt.Println(err)
		return
	}
	c := v.Cursor()
	for c.Len() > 0 {
		key, _ := c.Next()
		value, _ := c.Next()
		fmt.Println(key.Text(), value.Kind(), value.Text())
	}
	// Output:
	// name bulk string alice
	// visits integer 3
}

func ExampleDecode() {
	v, rest, err := resp3.Decode([]byte("*2\r\n$5\r\nhello\r\n_\r\n+next\r\n"))
	fmt.Println(v.Elems()[0].Text(), v.Elems()[1].IsNull(), len(rest), err)
	_, _, err = resp3.Decode([]byte("$-2\r\n"))
	fmt.Println(err)
	// Output:
	// hello true 7 <nil>
	// resp3: invalid length near "$-2\r\n"
}

func ExampleAggregateValue() {
	v := resp3.AggregateValue(resp3.Array, resp3.StringValue("a"), resp3.IntValue(1))
	fmt.Printf("%q\n", v.Append(nil))
	// Output:
	// "*2\r\n$1\r\na\r\n:1\r\n"
}
