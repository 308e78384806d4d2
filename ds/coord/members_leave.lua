#!lua flags=allow-oom
-- members_leave: stop being a member, if this id is one.
-- KEYS[1] {p}members   KEYS[2] {p}beats   KEYS[3] {p}about
-- ARGV[1] name   ARGV[2] id
-- returns 1, or 0 when it was none
local about = redis.call('HGET', KEYS[3], ARGV[1])
if not about or cjson.decode(about).id ~= ARGV[2] then
  return 0
end
local time = redis.call('TIME')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'changed', string.format('%.0f', time[1] * 1000000 + time[2]))
end
return 1
