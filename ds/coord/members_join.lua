-- members_join: become a member of a group, under a name that nobody else has there.
-- KEYS[1] {p}members   KEYS[2] {p}beats   KEYS[3] {p}about
-- ARGV[1] name   ARGV[2] id   ARGV[3] weight   ARGV[4] meta   ARGV[5] ttl, ms
-- ARGV[6] kind   ARGV[7] how many shards, 0 for a group that has none
-- returns {'joined'}, {'taken', ms until that one lapses} or {'shards', how many there are}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Who lapsed is not there any more, whether or not somebody has tidied up.
local alive = redis.call('ZCOUNT', KEYS[2], string.format('(%.0f', now), '+inf')
local shards = redis.call('HGET', KEYS[1], 'shards')
if alive > 0 and shards and shards ~= ARGV[7] then
  return {'shards', shards}
end
local about = redis.call('HGET', KEYS[3], ARGV[1])
local deadline = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
if deadline > now and about and cjson.decode(about).id ~= ARGV[2] then
  return {'taken', string.format('%.0f', deadline - now)}
end

local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
for _, name in ipairs(lapsed) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
redis.call('HSET', KEYS[1], 'kind', ARGV[6], 'v', '1', 'shards', ARGV[7],
  'changed', string.format('%.0f', time[1] * 1000000 + time[2]))
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[5]), ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], cjson.encode({id = ARGV[2], weight = ARGV[3], meta = ARGV[4],
  since = string.format('%.0f', time[1] * 1000000 + time[2])}))
local keep = 2 * ARGV[5]
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[3]}) do
  if redis.call('PTTL', key) < keep then
    redis.call('PEXPIRE', key, keep)
  end
end
return {'joined'}
