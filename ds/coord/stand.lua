-- stand: enter a candidate of an election, or keep it there, and tell who leads.
-- KEYS[1] {p}candidates   KEYS[2] {p}lease
-- ARGV[1] id   ARGV[2] name   ARGV[3] weight   ARGV[4] ttl, ms   ARGV[5] most candidates
-- returns {heavier candidates} or {heavier candidates, leader, term, since µs, ms left}
local all = redis.call('HGETALL', KEYS[1])
local leader = redis.call('HMGET', KEYS[2], 'owner', 'token', 'since')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local weight, since = tonumber(ARGV[3]), now
local others, heavier = 0, 0
for i = 1, #all, 2 do
  local id = all[i]
  local ends, heft, from = string.match(all[i + 1], '^(%d+) (%d+) (%d+) ')
  if id == ARGV[1] then
    since = tonumber(from)
  elseif ends and tonumber(ends) <= now then
    -- Dead, or stopped: nobody waits for it any more.
    redis.call('HDEL', KEYS[1], id)
  elseif ends then
    others = others + 1
    if tonumber(heft) > weight then
      heavier = heavier + 1
    end
  end
end

if others < tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], 'kind', 'candidates', 'v', '1',
    ARGV[1], string.format('%.0f %d %.0f ', now + ARGV[4] * 1000, weight, since) .. ARGV[2])
  -- The key lives as long as the candidate that stands longest.
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
  end
end
if not leader[2] then
  return {heavier}
end
return {heavier, leader[1], leader[2], leader[3], redis.call('PTTL', KEYS[2])}
