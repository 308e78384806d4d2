#!lua flags=allow-oom
-- undo: take back calls that were to happen later.
-- KEYS[1..] for each rule: {p}STATE, {p}STATE:reserved
-- ARGV[1] calls   ARGV[2..] for each rule: "algorithm count per burst", at, used, used before
-- returns of how many rules nothing is lost
--
-- Of a log an entry can always be taken back. Of the others only the last
-- charge: the slots of those who came after it stand.
-- include state.lua
-- include gcra.lua
-- include tokens.lua
-- include fixed.lua
-- include sliding.lua
-- include rules.lua
local now = time_now()
local calls, undone = tonumber(ARGV[1]), 0

local function undo_entry(key, rule, tail)
  local s = sliding.load(key, rule)
  sliding.bring(s, rule, now)
  if tail < s.live or tail > s.tail then
    return 0
  end
  local time, has = entry(s, tail)
  if has < calls then
    return 0
  end
  s.log[tail] = {time, has - calls}
  redis.call('HSET', key, tail, string.format('%.0f %.0f', time, has - calls))
  redis.call('HINCRBY', key, 'used', -calls)
  -- Nobody waits behind an entry without calls.
  while s.tail >= s.live and select(2, entry(s, s.tail)) == 0 do
    redis.call('HDEL', key, s.tail)
    s.tail = s.tail - 1
    redis.call('HSET', key, 'tail', s.tail)
  end
  return 1
end

local function undo_last(key, rule, at, used, before)
  local algorithm = algorithms[rule.algorithm]
  local s = algorithm.load(key, rule)
  if s.was ~= rule.numbers or s.at ~= at or s.used ~= used then
    return 0
  end
  s.used, s.now = before, math.max(at, now)
  algorithm.save(key, rule, s, ends(s, rule, algorithm))
  return 1
end

for i = 1, #KEYS / 2 do
  local rule, a = rule_of(ARGV[4 * i - 2]), 4 * i - 1
  local at = tonumber(ARGV[a])
  if rule.algorithm == 'sliding' then
    undone = undone + undo_entry(KEYS[2 * i - 1], rule, at)
  else
    undone = undone + undo_last(KEYS[2 * i - 1], rule, at, tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]))
  end
end
return undone
