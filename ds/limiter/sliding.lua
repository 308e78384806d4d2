-- sliding: a log of calls, each of which leaves a period after it was made. Included by other scripts, after state.lua.
-- returns nothing: it defines sliding
--
-- The log is a hash: besides kind, v, at, used (the sum of the log), held,
-- first and last it has one field for each entry from head to tail, "<µs> <calls>",
-- in order of time. Of more than 1000 calls a period those within a 1000th of it
-- share an entry and leave together, with the last of them.
local sliding = {}
local grains = 1000

local function entry(s, i)
  if not s.log[i] then
    local names = {}
    for j = i, math.min(i + 31, s.tail) do
      names[#names + 1] = string.format('%.0f', j)
    end
    for j, text in ipairs(redis.call('HMGET', s.key, unpack(names))) do
      local time, calls = string.match(text or '', '^(%d+) (%d+)$')
      s.log[i + j - 1] = s.log[i + j - 1] or {tonumber(time) or 0, tonumber(calls) or 0}
    end
  end
  return s.log[i][1], s.log[i][2]
end

-- put sets an entry, which save writes.
local function put(s, i, time, calls)
  s.log[i], s.changes = {time, calls}, math.min(s.changes or i, i)
end

-- stamp returns when the entry is noted of a call at a time.
local function stamp(s, time)
  return math.ceil(time / s.grain) * s.grain
end

function sliding.load(key, rule)
  local f = redis.call('HMGET', key, 'kind', 'v', 'at', 'used', 'head', 'tail', 'held', 'first', 'last')
  if (f[1] or redis.call('EXISTS', key) == 1) and (f[1] ~= 'limiter' or f[2] ~= '1' or not f[9]) then
    wrong_state()
  end
  local s = {
    key = key, log = {}, span = rule.per, grain = rule.count > grains and math.ceil(rule.per / grains) or 1,
    at = tonumber(f[3] or 0), used = tonumber(f[4] or 0), head = tonumber(f[5] or 1), tail = tonumber(f[6] or 0),
    held = tonumber(f[7] or 0), first = tonumber(f[8] or 0), last = tonumber(f[9] or 0),
  }
  s.live = s.head
  return s
end

function sliding.bring(s, rule, now)
  if s.at - now > rule.per then
    -- The clock stepped back by more than a window: what is in the log is
    -- noted anew, at the time that is now true.
    s.tail = s.tail + 1
    s.live, s.used, s.at, s.changed = s.tail, math.min(s.used, rule.count), now, true
    put(s, s.tail, stamp(s, now), s.used)
  end
  s.at = math.max(s.at, now)
  while s.live <= s.tail do
    local time, calls = entry(s, s.live)
    if time + rule.per > s.at then
      break
    end
    s.used, s.live = s.used - calls, s.live + 1
  end
end

function sliding.wait(s, rule, calls)
  local slot, used = s.at, s.used
  local i = s.live
  while used + calls > rule.count and i <= s.tail do
    local time, left = entry(s, i)
    used, slot, i = used - left, math.max(slot, time + rule.per), i + 1
  end
  if s.tail >= s.live then
    -- Who waits goes first.
    local latest = entry(s, s.tail)
    if latest > stamp(s, slot) then
      slot = latest - s.grain + 1
    end
  end
  return slot - s.at
end

function sliding.left(s, rule)
  return rule.count - s.used
end

function sliding.full(s, rule)
  return s.tail >= s.live and entry(s, s.tail) + rule.per or s.at
end

function sliding.take(s, rule, calls, ahead)
  local time = stamp(s, s.at + ahead)
  local latest, was = 0, 0
  if s.tail >= s.live then
    latest, was = entry(s, s.tail)
  end
  if latest >= time then
    put(s, s.tail, latest, was + calls)
  else
    s.tail = s.tail + 1
    put(s, s.tail, time, calls)
  end
  s.used = s.used + calls
end

function sliding.save(key, rule, s, ends)
  local fields = {
    'kind', 'limiter', 'v', '1', 'rule', rule.numbers, 'at', string.format('%.0f', s.at), 'used', s.used, 'head', s.live, 'tail', s.tail,
    'held', s.held, 'first', string.format('%.0f', s.first), 'last', string.format('%.0f', s.last),
  }
  for i = math.max(s.changes or s.tail + 1, s.live), s.tail do
    fields[#fields + 1] = i
    fields[#fields + 1] = string.format('%.0f %.0f', s.log[i][1], s.log[i][2])
  end
  redis.call('HSET', key, unpack(fields))
  local gone = {}
  for i = s.head, s.live - 1 do
    gone[#gone + 1] = i
    if #gone == 1000 or i == s.live - 1 then
      redis.call('HDEL', key, unpack(gone))
      gone = {}
    end
  end
  redis.call('PEXPIREAT', key, string.format('%.0f', math.floor(ends / 1000) + 1))
end
