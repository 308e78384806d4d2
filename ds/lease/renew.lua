#!lua flags=allow-oom
-- renew: keep the lease for another ttl, if this id has it. Never makes a key.
-- KEYS[1] {p}lease
-- ARGV[1] id   ARGV[2] ttl, ms
-- returns 1, or 0 when somebody else or nobody has it
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
