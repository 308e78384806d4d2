#!lua flags=allow-oom
-- renew: keep the fill for another lease, if it is still ours.
-- KEYS[1] {p}fill
-- ARGV[1] token   ARGV[2] lease, ms
-- returns 1, or 0 when it is gone
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
