#!lua flags=allow-oom
-- release: end the fill without a value, if it is still ours.
-- KEYS[1] {p}fill
-- ARGV[1] token
-- returns 1, or 0 when it is not ours
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
