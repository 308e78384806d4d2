#!lua flags=allow-oom
-- settle: end a reservation, and charge what it came to.
-- KEYS[1..] for each rule: {p}STATE, {p}STATE:reserved
-- ARGV[1] id   ARGV[2] calls   ARGV[3..] for each rule "algorithm count per burst"
-- returns {how many rules still knew it: none if it has lapsed or was settled, now}
-- include state.lua
-- include gcra.lua
-- include tokens.lua
-- include fixed.lua
-- include sliding.lua
-- include rules.lua
local now = time_now()
local settled = 0
for i = 1, #KEYS / 2 do
  local key, reserved = KEYS[2 * i - 1], KEYS[2 * i]
  local s, rule, algorithm = open(key, reserved, ARGV[2 + i], now)
  local calls = string.match(redis.call('HGET', reserved, ARGV[1]) or '', '^(%d+) ')
  for _, id in ipairs(s.lapsed) do
    if id == ARGV[1] then
      calls = nil
    end
  end
  if calls then
    redis.call('HDEL', reserved, ARGV[1])
    s.held = math.max(0, s.held - tonumber(calls))
    local used = math.min(tonumber(ARGV[2]), rule.burst)
    if used > 0 then
      algorithm.take(s, rule, used, 0)
    end
    settled, s.changed = settled + 1, true
  end
  if s.changed then
    close(key, reserved, rule, s, algorithm)
  end
end
return {settled, now}
