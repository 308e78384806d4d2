-- barrier_end: end a generation of a barrier and begin the next. Included by other scripts.
-- returns nothing: it defines end_generation
local function end_generation(barrier, generation, arrived, n, how, by, why, ttl, life)
  redis.call('HSET', generation, 'ended', how, 'by', by, 'why', why)
  redis.call('PEXPIRE', generation, math.max(2 * ttl, redis.call('PTTL', arrived)))
  redis.call('HSET', barrier, 'generation', string.format('%.0f', n + 1))
  redis.call('PEXPIRE', barrier, life)
end
