-- adapt: add reports of permits to those of all processes, and set the limit when the window is over.
-- KEYS[1] {p}limit   KEYS[2] {p}lease   KEYS[3] {p}queue   KEYS[4] {p}order
-- ARGV[1] first limit   ARGV[2] least   ARGV[3] greatest   ARGV[4] window, ms
-- ARGV[5] reports   ARGV[6] of overload   ARGV[7] µs of all others   ARGV[8] weight of the last   ARGV[9] ttl, ms
-- returns {limit, baseline µs}
-- include clock.lua
-- include tickets.lua
local now, least, greatest = server_ms(), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'limit', 'baseline', 'based', 'phase', 'back',
  'opened', 'reports', 'overloads', 'sum', 'busy')
for _, i in ipairs({1, 2, 3, 5, 6, 7, 8, 9}) do
  kept[i] = tonumber(kept[i] or '0')
end
local function within(n)
  return math.max(least, math.min(greatest, math.floor(n)))
end
local before = kept[1]
local limit, baseline, based, phase, back = within(before > 0 and before or ARGV[1]), kept[2], kept[3], kept[4] or '', kept[5]
local opened, reports, overloads, sum = kept[6], kept[7] + ARGV[5], kept[8] + ARGV[6], kept[9] + ARGV[7]

-- A limit that nobody comes near says nothing when all is well.
local used = tonumber(redis.call('HGET', KEYS[2], 'used') or '0')
local busy = kept[10] == '1' or redis.call('EXISTS', KEYS[4]) == 1 or 2 * (used + ARGV[8]) >= limit

local good = reports - overloads
local mean = good > 0 and sum / good or 0
if opened == 0 or opened > now then
  opened = now
end
-- Of calls that last longer than the window, those count that came in within it.
local over = reports >= 10 and now - opened >= math.max(ARGV[4], 2 * mean / 1000)
if over then
  if 100 * overloads > reports then
    limit, phase = within(0.7 * limit), ''
  elseif phase == 'drain' then
    phase = 'probe' -- who came in before is out
  elseif phase == 'probe' then
    baseline, based, limit, phase = mean, now, within(back), ''
  else
    if baseline == 0 or mean < baseline then
      baseline, based = mean, now
    end
    local gradient = math.max(0.5, math.min(1, 1.25 * baseline / math.max(mean, 1)))
    local to = within(limit * gradient + math.sqrt(limit))
    if to < limit or busy then
      limit = to
    end
    if now - based > 60 * ARGV[4] and limit > least then
      back, limit, phase = limit, within(limit / 2), 'drain'
    elseif now - based > 60 * ARGV[4] then
      baseline, based = mean, now
    end
  end
  opened, reports, overloads, sum, busy = now, 0, 0, 0, false
end

local function text(n)
  return string.format('%.0f', n)
end
redis.call('HSET', KEYS[1], 'kind', 'semaphore.limit', 'v', '1', 'limit', text(limit), 'baseline', text(baseline), 'based', text(based),
  'phase', phase, 'back', text(back), 'opened', text(opened), 'reports', text(reports), 'overloads', text(overloads),
  'sum', text(sum), 'busy', busy and '1' or '0')
redis.call('PEXPIRE', KEYS[1], ARGV[9])
if limit > before then
  wake(KEYS[2], KEYS[3], KEYS[4], now)
end
return {text(limit), text(baseline)}
