package pubsub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHostilePushesChangeNothing(t *testing.T) {
	each(t, func(w *world) {
		s := w.subscribe(append(append(channels("a"), patterns("p*")...), shards("s")...))
		m := w.Mark()
		for _, push := range []string{
			"3\r\n+subscribe\r\n+a\r\n:1\r\n", // confirmed already
			"3\r\n+subscribe\r\n+never asked\r\n:1\r\n",
			"3\r\n+unsubscribe\r\n+never asked\r\n:0\r\n",
			"3\r\n+punsubscribe\r\n$-1\r\n:0\r\n",
			"3\r\n+message\r\n+nobody's\r\n+x\r\n",
			"2\r\n+message\r\n+a\r\n",               // no payload
			"3\r\n+message\r\n+a\r\n*1\r\n+x\r\n",   // one that is no text
			"3\r\n+message\r\n*1\r\n+a\r\n+x\r\n",   // nor is the channel
			"3\r\n+pmessage\r\n+p*\r\n+channel\r\n", // no payload
			"4\r\n+pmessage\r\n+p*\r\n:1\r\n+x\r\n",
			"3\r\n+pmessage\r\n+a\r\n+x\r\n",
			"3\r\n+smessage\r\n+a\r\n+x\r\n", // not a shard of ours
			"1\r\n+message\r\n",
			"1\r\n+subscribe\r\n",
		} {
			w.Say(m + push)
		}
		if !w.RESP2 {
			for _, push := range []string{
				">0\r\n", ">1\r\n*0\r\n", ">2\r\n+invalidate\r\n_\r\n", ">1\r\n:1\r\n",
				">3\r\n%1\r\n+a\r\n+b\r\n+a\r\n+x\r\n", "|1\r\n+a\r\n+b\r\n>3\r\n+weird\r\n+a\r\n+x\r\n",
			} {
				w.Say(push)
			}
		}
		w.Say(strings.Repeat(m+"3\r\n+message\r\n+nobody's\r\n+x\r\n", 20_000))
		w.Publish("a", "1")
		w.Publish("px", "2")
		w.Publish("s", "3")
		w.want(s, "a:1", "p*>px:2", "s:3")
		if w.Dials() != 2 {
			t.Errorf("%d dials", w.Dials())
		}
	})
}

func TestAMessageBeforeItsConfirmationIsNotDelivered(t *testing.T) {
	each(t, func(w *world) {
		keep := w.subscribe(channels("k"))
		w.Set(func() { w.Held = true })
		joined := make(chan *Subscription)
		go func() { joined <- w.subscribe(channels("a")) }()
		synctest.Wait()
		w.Say(w.Mark() + "3\r\n+message\r\n+a\r\n+early\r\n")
		w.Set(func() { w.Held = false })
		w.Say(w.Mark() + "3\r\n+subscribe\r\n+a\r\n:2\r\n")
		s := <-joined
		w.Say(w.Mark() + "3\r\n+message\r\n+a\r\n+late\r\n")
		w.want(s, "a:late")
		w.want(keep)
	})
}

func TestAServerThatSpoilsTheStreamIsLeftAndTheGapTold(t *testing.T) {
	each(t, func(w *world) {
		s := w.subscribe(channels("a"))
		for i, garbage := range []string{"+OK\r\n", "HTTP/1.1 400\r\n", ">999999999999\r\n", "$-7\r\n", "-ERR what\r\n", "*3\r\n$-1\r\n"} {
			w.Publish("a", fmt.Sprint(i))
			w.Say(garbage)
			time.Sleep(20 * time.Second)
			w.want(s, fmt.Sprint("a:", i), "gap 0 reconnected")
		}
	})
}
