#!lua flags=no-writes
-- members_list: tell who is a member now, by the server's clock.
-- KEYS[1] {p}members   KEYS[2] {p}beats   KEYS[3] {p}about
-- returns {shards, and of each member: name, id, weight, meta, since µs, ms left}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {redis.call('HGET', KEYS[1], 'shards') or '0'}
local alive = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf', 'WITHSCORES')
for i = 1, #alive, 2 do
  local about = redis.call('HGET', KEYS[3], alive[i])
  if about then
    about = cjson.decode(about)
    for _, v in ipairs({alive[i], about.id, about.weight, about.meta, about.since,
      string.format('%.0f', alive[i + 1] - now)}) do
      reply[#reply + 1] = v
    end
  end
end
return reply
