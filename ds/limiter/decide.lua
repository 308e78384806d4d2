-- decide: admit calls by all of their rules, or charge none.
-- KEYS[1..] of each row, for each rule: {p}STATE, {p}STATE:reserved
-- ARGV[1] rules of each row   ARGV[2..] of each row: what, and for each rule "algorithm count per burst"
-- returns of each row {admitted, rule, left, wait, reset, now, then for each rule that is waited for: at, used, used before}, or an error
--
-- What is "<calls>", 0 only looks; "<calls> <most>" charges calls that happen
-- when all rules have room, if that is within so many µs; and
-- "<calls> <most> <lapse> <id>" reserves them, for so many µs. The rule is that
-- which keeps the call waiting for longest, else that with the least left. left
-- and reset are of that rule, times are in µs.
-- include state.lua
-- include gcra.lua
-- include tokens.lua
-- include fixed.lua
-- include sliding.lua
-- include rules.lua
-- include rows.lua
local now = time_now()

-- room returns how long after now so many calls fit a rule, and whether others'
-- reservations alone are in the way, whose end nobody knows.
local function room(s, rule, algorithm, calls, reserved, reserve)
  local need = calls + s.held
  if need > rule.burst or reserve and s.held > 0 and redis.call('HLEN', reserved) >= most_open + 2 then -- kind and v
    return math.max(s.first - now, 1), true
  end
  local wait = algorithm.wait(s, rule, need)
  if wait > 0 then
    wait = wait + (s.now or s.at) - now
  end
  return wait, false
end

local function reserve(key, rule, s, algorithm, calls, id, lapse)
  if s.held == 0 then
    redis.call('DEL', key) -- what a state that was lost has left
    redis.call('HSET', key, 'kind', 'limiter.reserved', 'v', '1')
  end
  s.held = s.held + calls
  s.first = s.first > 0 and math.min(s.first, lapse) or lapse
  s.last = math.max(s.last, lapse)
  redis.call('HSET', key, id, string.format('%.0f %.0f', calls, lapse))
  redis.call('PEXPIREAT', key, string.format('%.0f', math.floor(ends(s, rule, algorithm) / 1000) + 1))
end

local function decide(k, a, count)
  local cost, most, lapse, id = string.match(ARGV[a], '^(%d+) ?(%d*) ?(%d*) ?(.*)$')
  cost, most = tonumber(cost), tonumber(most) or 0
  local states, wait, by, blocked = {}, 0, 0, false
  for i = 1, count do
    local key, reserved = KEYS[k + 2 * i - 2], KEYS[k + 2 * i - 1]
    local s, rule, algorithm = open(key, reserved, ARGV[a + i], now)
    local w, b = room(s, rule, algorithm, math.max(cost, 1), reserved, id ~= '')
    states[i] = {key, reserved, rule, s, algorithm}
    if w > wait then
      wait, by = w, i
    end
    blocked = blocked or b
  end
  local admitted = wait == 0 or cost > 0 and wait <= most and not blocked
  local tickets, left, reset = {}, nil, 0
  for i, state in ipairs(states) do
    local key, reserved, rule, s, algorithm = unpack(state)
    if admitted and id ~= '' then
      reserve(reserved, rule, s, algorithm, cost, id, now + wait + tonumber(lapse))
    elseif admitted and cost > 0 then
      local before = s.used
      algorithm.take(s, rule, cost, math.max(0, now + wait - (s.now or s.at)))
      if wait > 0 then
        tickets[#tickets + 1] = s.tail or s.at
        tickets[#tickets + 1] = s.used
        tickets[#tickets + 1] = before
      end
    end
    if s.changed or admitted and cost > 0 then
      close(key, reserved, rule, s, algorithm)
    end
    local has = math.max(0, algorithm.left(s, rule) - s.held)
    if i == by or by == 0 and (not left or has < left[1]) then
      left = {has, i}
      reset = math.max(0, algorithm.full(s, rule) - now)
      reset = (s.used > 0 or s.held > 0) and reset or 0
    end
  end
  return {admitted and 1 or 0, left[2], left[1], wait, reset, now, unpack(tickets)}
end

local count = tonumber(ARGV[1])
local answers = {}
for row = 1, #KEYS / (2 * count) do
  answers[row] = answer_of(decide, (row - 1) * 2 * count + 1, (row - 1) * (count + 1) + 2, count)
end
return answers
