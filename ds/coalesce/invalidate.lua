#!lua flags=allow-oom
-- invalidate: drop the value, and refuse the fill in progress.
-- KEYS[1] the value   KEYS[2] {p}fill
-- returns how many of the two were there
return redis.call('DEL', KEYS[1], KEYS[2])
