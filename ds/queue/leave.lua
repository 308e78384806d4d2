#!lua flags=allow-oom
-- leave: a consumer ends; what it might have been given or told goes to others.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines   KEYS[3] {p}wake
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] 1 if it knows of no open delivery
-- returns 1 when the consumer is forgotten, 0 when deliveries of it are open
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 500, ARGV[2])
if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
local grouped = not p.err
if not grouped then p = {} end

-- What a claim took whose answer never arrived: nobody has begun with it.
if ARGV[3] == '1' and #p > 0 then
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  for _, e in ipairs(p) do
    redis.call('XCLAIM', KEYS[1], ARGV[1], '(delayed)', 0, e[1], 'RETRYCOUNT', e[4] - 1, 'JUSTID')
    redis.call('ZADD', KEYS[2], now, e[1])
  end
  p = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
end

-- The wake-up that this consumer took, and dropped with its connection, may
-- have been the only one.
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[3])
elseif redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('LPUSH', KEYS[3], '1')
end

-- Deleting a consumer drops what is pending for it.
if #p > 0 then return 0 end
if grouped then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return 1
