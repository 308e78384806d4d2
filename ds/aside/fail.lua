#!lua flags=allow-oom
-- fail: end the fill without a value, if it is still ours, and let nobody refresh for a while.
-- KEYS[1] {p}aside   KEYS[2] {p}fill
-- ARGV[1] token      ARGV[2] ms of the while
-- returns 1, or 0 when it is not ours
-- include clock.lua
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then
  return 0
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'quiet', string.format('%.0f', server_ms() + ARGV[2]))
end
return redis.call('DEL', KEYS[2])
