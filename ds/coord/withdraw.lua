#!lua flags=allow-oom
-- withdraw: take a candidate out of an election.
-- KEYS[1] {p}candidates
-- ARGV[1] id
-- returns 1, or 0 when it was not there
local there = redis.call('HDEL', KEYS[1], ARGV[1])
if there == 1 and redis.call('HLEN', KEYS[1]) == 2 then
  redis.call('DEL', KEYS[1]) -- kind and v are left
end
return there
