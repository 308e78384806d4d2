#!lua flags=allow-oom
-- members_beat: stay a member for another ttl, if this id is one. Never makes a member.
-- KEYS[1] {p}members   KEYS[2] {p}beats   KEYS[3] {p}about
-- ARGV[1] name   ARGV[2] id   ARGV[3] ttl, ms
-- returns 1, or 0 when it is none
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local about = redis.call('HGET', KEYS[3], ARGV[1])
local deadline = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
if deadline <= now or not about or cjson.decode(about).id ~= ARGV[2] then
  return 0
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
local keep = 2 * ARGV[3]
for _, key in ipairs({KEYS[2], KEYS[3]}) do
  if redis.call('PTTL', key) < keep then
    redis.call('PEXPIRE', key, keep)
  end
end
-- Rarely: who watches the members watches this key, and a new TTL wakes them all.
if redis.call('PTTL', KEYS[1]) < keep then
  redis.call('PEXPIRE', KEYS[1], 10 * keep)
end
return 1
