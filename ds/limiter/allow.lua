-- allow: decide calls by one rule each, by gcra, where nothing is reserved. It answers as decide does, and is quicker.
-- KEYS[1..] of each row: {p}bucket
-- ARGV[1..] of each row: "gcra count per burst", calls (0 only looks)
-- returns of each row {admitted, left, wait, reset, now}, {} where decide has to be asked, or an error
--
-- What gcra.lua says of the state holds here. A test compares the two.
-- include rows.lua
local call, format, match = redis.call, string.format, string.match
local floor, ceil, max = math.floor, math.ceil, math.max
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
local text, numbers, count, per, size -- the rule of the last row

local function allow(key, rule, cost)
  if rule ~= text then
    local a, b, c
    numbers, a, b, c = match(rule, '^gcra ((%d+) (%d+) (%d+))$')
    text, count, per = rule, tonumber(a), tonumber(b)
    size = per * c
  end
  local debt, at, ahead, rebase = 0, now, 0, false
  local state = call('GET', key)
  if state then
    local was, last, used, more = match(state, '^limiter/1 (%d+ %d+ %d+) (%d+) (%d+)(.*)$')
    if more ~= '' then
      return {} -- something is reserved, or it is no state
    end
    last, debt = tonumber(last), tonumber(used)
    if was ~= numbers then
      debt = math.min(ceil(debt * per / match(was, ' (%d+) ')), size)
    end
    if now >= last then
      debt = max(0, debt - (now - last) * count)
    elseif (last - now) * count <= size then
      ahead, at = last - now, last
    else
      rebase = true
    end
  end
  cost = tonumber(cost)
  local over, wait = debt + max(cost, 1) * per - size, 0
  if over > 0 then
    wait = ahead + ceil(over / count)
  end
  local charged = over <= 0 and cost > 0
  if charged then
    debt = debt + cost * per
  end
  local reset = ceil(debt / count)
  if charged or rebase then
    call('SET', key, format('limiter/1 %s %.0f %.0f', numbers, at, debt), 'PXAT', format('%.0f', floor((at + reset) / 1000) + 1))
  end
  if debt > 0 then
    reset = reset + ahead
  end
  return {over <= 0 and 1 or 0, max(0, floor((size - debt) / per)), wait, reset, now}
end

local answers = {}
for i = 1, #KEYS do
  answers[i] = answer_of(allow, KEYS[i], ARGV[2 * i - 1], ARGV[2 * i])
end
return answers
