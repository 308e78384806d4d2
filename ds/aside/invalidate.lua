#!lua flags=allow-oom
-- invalidate: drop the value and what is known of it, and refuse the fill in progress.
-- KEYS[1] the value   KEYS[2] {p}aside   KEYS[3] {p}fill
-- returns how many of the three were there
return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
