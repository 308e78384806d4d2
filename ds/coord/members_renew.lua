#!lua flags=allow-oom
-- members_renew: keep memberships for another ttl each, where the id has them. Never makes one.
-- KEYS[1..] of each row: {p}members, {p}beats, {p}about
-- ARGV[1..] of each row: name, id, ttl in ms
-- returns {run_id, answer of the first row, …}: 1, why it is not ours, or an error
-- include clock.lua
-- include server.lua
local now = server_ms()

local function renew(members, beats, about, name, id, ttl)
  local told = redis.call('HGET', about, name)
  if told and cjson.decode(told).id ~= id then
    return 'not owner'
  end
  local till = redis.call('ZSCORE', beats, name)
  if not told or not till or tonumber(till) <= now then
    return 'gone'
  end
  redis.call('ZADD', beats, string.format('%.0f', now + ttl), name)
  redis.call('PEXPIRE', beats, 2 * ttl, 'GT')
  redis.call('PEXPIRE', about, 2 * ttl, 'GT')
  -- Rarely: who watches the members watches this key, and a new TTL wakes them all.
  if redis.call('PTTL', members) < 2 * ttl then
    redis.call('PEXPIRE', members, 20 * ttl)
  end
  return 1
end

-- include rows.lua
local answers = {run_id()}
for i = 3, #KEYS, 3 do
  answers[#answers + 1] = answer_of(renew, KEYS[i - 2], KEYS[i - 1], KEYS[i], ARGV[i - 2], ARGV[i - 1], ARGV[i])
end
return answers
