#!lua flags=no-writes
-- inspect: tell who has the lease, and the last token.
-- KEYS[1] {p}lease   KEYS[2] {p}fence
-- returns {last token} or {last token, id, owner, token, since µs, ms left, ttl ms}
local last = redis.call('HGET', KEYS[2], 'last') or '0'
local held = redis.call('HMGET', KEYS[1], 'id', 'owner', 'token', 'since', 'ttl')
if not held[1] then
  return {last}
end
return {last, held[1], held[2], held[3], held[4], redis.call('PTTL', KEYS[1]), held[5]}
