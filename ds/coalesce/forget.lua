#!lua flags=allow-oom
-- forget: drop the result, and refuse the run in progress.
-- KEYS[1] {p}value   KEYS[2] {p}fill
-- returns how many of the two were there
return redis.call('DEL', KEYS[1], KEYS[2])
