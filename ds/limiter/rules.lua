-- rules: the algorithms, and what is reserved. Included by other scripts, after the algorithms.
-- returns nothing: it defines time_now, open, close and most_open
--
-- A reservation is a field of the key beside the state, "<calls> <µs>": how
-- many, and when it lapses. It counts until it is settled. If it lapses, its
-- calls are charged in full then: who has died may have made them.
local algorithms = {gcra = gcra, tokens = tokens, fixed = fixed, sliding = sliding}

-- most_open bounds the reservations of a key, and with them what finding those
-- that have lapsed costs.
local most_open = 1000

local function time_now()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- lapse ends the reservations that have lapsed: each is charged when it did.
local function lapse(s, rule, algorithm, reserved, now)
  local fields = redis.call('HGETALL', reserved)
  local over = {}
  s.held, s.first, s.last, s.changed = 0, 0, 0, true
  for i = 1, #fields, 2 do
    local calls, time = string.match(fields[i + 1], '^(%d+) (%d+)$')
    if calls then
      calls, time = tonumber(calls), tonumber(time)
      if time <= now then
        over[#over + 1] = {time = time, calls = calls}
        s.lapsed[#s.lapsed + 1] = fields[i]
      else
        s.held = s.held + calls
        s.first = s.first > 0 and math.min(s.first, time) or time
        s.last = math.max(s.last, time)
      end
    end
  end
  table.sort(over, function(a, b) return a.time < b.time end)
  for _, r in ipairs(over) do
    algorithm.bring(s, rule, math.max(r.time, s.at))
    algorithm.take(s, rule, r.calls, 0)
  end
end

-- open returns the state of a rule as it is at now, and its algorithm.
local function open(key, reserved, text, now)
  local rule = rule_of(text)
  local algorithm = algorithms[rule.algorithm]
  local s = algorithm.load(key, rule)
  s.lapsed = {}
  if s.held > 0 and s.first <= now then
    lapse(s, rule, algorithm, reserved, now)
  end
  algorithm.bring(s, rule, now)
  return s, rule, algorithm
end

-- ends returns when no state says as much as the state: nothing is in use, and
-- nothing reserved, nor what has lapsed unseen.
local function ends(s, rule, algorithm)
  local full = algorithm.full(s, rule)
  return s.held > 0 and math.max(full, s.last) + s.span or full
end

local function close(key, reserved, rule, s, algorithm)
  algorithm.save(key, rule, s, ends(s, rule, algorithm))
  if #s.lapsed > 0 then
    redis.call('HDEL', reserved, unpack(s.lapsed))
  end
end
