#!lua flags=allow-oom
-- claim: take what is due (retries, deliveries past their deadline), then new jobs.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines   KEYS[3] {p}wake   KEYS[4] {p}dead   KEYS[5] {p}meta
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] how many   ARGV[4] visibility, ms
-- ARGV[5] deliveries of a job at most   ARGV[6] longest wait, ms   ARGV[7] schema
-- returns {ms to wait when nothing was there, job id, attempt, payload, job id, attempt, payload, …}
-- It may run out of memory's bounds: a full server is emptied by claiming.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- As text: a number would be printed anew for every job.
local n, deadline = tonumber(ARGV[3]), string.format('%.0f', now + ARGV[4])
local out, took, lost = {0}, 0, 0

local function payload(fields)
  if fields[1] == 'v' then return fields[2] end
  for i = 3, #fields, 2 do
    if fields[i] == 'v' then return fields[i + 1] end
  end
  return ''
end

local function pending(id)
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  -- Without the group nothing is pending; it is made anew below.
  if p.err and not string.find(p.err, 'NOGROUP', 1, true) then
    return redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  end
  return p[1]
end

local function take(id, attempt, fields)
  local at = 3 * took + 1
  out[at + 1], out[at + 2], out[at + 3] = id, attempt, payload(fields)
  took = took + 1
end

-- The payload of a job that brings its workers down is moved, not looked at.
local function bury(id, count)
  local e = redis.call('XRANGE', KEYS[1], id, id)[1]
  if e then
    redis.call('XADD', KEYS[4], '*', 'job', id, 'attempts', count, 'cause',
      'delivered ' .. count .. ' times and never settled: its workers died or lost it', unpack(e[2]))
  else
    lost = lost + 1
  end
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('XDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end

local more = false
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  local p = pending(id)
  if not p then
    -- Someone else's doing: the group or the entry was deleted. An entry that
    -- still exists comes again as a new one.
    if #redis.call('XRANGE', KEYS[1], id, id) == 0 then lost = lost + 1 end
    redis.call('ZREM', KEYS[2], id)
  elseif p[4] >= tonumber(ARGV[5]) then
    bury(id, p[4])
  elseif took == n then
    more = true
    break
  else
    local e = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)[1]
    if e then
      redis.call('ZADD', KEYS[2], deadline, id)
      take(id, p[4] + 1, e[2])
    else
      lost = lost + 1
      redis.call('ZREM', KEYS[2], id)
    end
  end
end

local left = n - took
if left == 0 then
  more = true
else
  local read = {'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', left, 'STREAMS', KEYS[1], '>'}
  local r = redis.pcall(unpack(read))
  if r and r.err and string.find(r.err, 'NOGROUP', 1, true) then
    redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
    redis.call('HSET', KEYS[5], 'kind', 'queue', 'schema', ARGV[7], 'group', ARGV[1])
    redis.call('HINCRBY', KEYS[5], 'regrouped', 1)
    r = redis.pcall(unpack(read))
  end
  if r and r.err then return r end
  local fresh = r and r[1][2] or {}
  local zadd = {}
  for i, e in ipairs(fresh) do
    take(e[1], 1, e[2])
    zadd[2 * i - 1], zadd[2 * i] = deadline, e[1]
  end
  if #fresh > 0 then redis.call('ZADD', KEYS[2], unpack(zadd)) end
  if #fresh == left then
    more = more or #redis.call('XRANGE', KEYS[1], '(' .. fresh[left][1], '+', 'COUNT', 1) > 0
  end
end
if lost > 0 then redis.call('HINCRBY', KEYS[5], 'lost', lost) end

local wait = tonumber(ARGV[6])
local head = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local soon = #head > 0 and tonumber(head[2]) - now < wait
if soon then wait = math.max(tonumber(head[2]) - now, 1) end
-- A consumer that got jobs may be too busy to watch for what is left or soon
-- due, so it passes the watch on; one that got none watches itself.
if more or (soon and took > 0) then
  if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('LPUSH', KEYS[3], '1') end
else
  redis.call('DEL', KEYS[3])
end
out[1] = wait
return out
