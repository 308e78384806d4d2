#!lua flags=allow-oom
-- retry: give a delivery up and let the job be due again after a delay; too many attempts end it as dead.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines   KEYS[3] {p}wake   KEYS[4] {p}dead
-- ARGV[1] group   ARGV[2] consumer   ARGV[3] job id   ARGV[4] attempt   ARGV[5] delay, ms
-- ARGV[6] deliveries of a job at most   ARGV[7] longest wait of idle consumers, ms   ARGV[8] cause
-- returns 2 dead, 1 due later, 0 another delivery has it, -1 gone
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if p.err then
  return string.find(p.err, 'NOGROUP', 1, true) and -1 or p
end
p = p[1]
if not p then return -1 end
if p[2] ~= ARGV[2] or p[4] ~= tonumber(ARGV[4]) then return 0 end

local e = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if not e or p[4] >= tonumber(ARGV[6]) then
  if e then
    redis.call('XADD', KEYS[4], '*', 'job', ARGV[3], 'attempts', p[4], 'cause', ARGV[8], unpack(e[2]))
  end
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[3]) ~= 1 then
    return redis.error_reply('ERR XACK took nothing')
  end
  redis.call('XDEL', KEYS[1], ARGV[3])
  redis.call('ZREM', KEYS[2], ARGV[3])
  return e and 2 or -1
end

-- It stays pending, so that its count goes on, but of nobody.
redis.call('XCLAIM', KEYS[1], ARGV[1], '(delayed)', 0, ARGV[3], 'JUSTID')
local t = redis.call('TIME')
redis.call('ZADD', KEYS[2], t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[5], ARGV[3])
-- Idle consumers look at the time of the next due job that often anyway.
if tonumber(ARGV[5]) < tonumber(ARGV[7]) and redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('LPUSH', KEYS[3], '1')
end
return 1
