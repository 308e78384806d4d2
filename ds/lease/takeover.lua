-- takeover: take the lease, whoever has it.
-- KEYS[1] {p}lease   KEYS[2] {p}fence   KEYS[3] {p}readers
-- ARGV[1] id   ARGV[2] owner   ARGV[3] ttl, ms   ARGV[4] ttl of the fence, ms   ARGV[5] meta
-- returns the token
local held = redis.call('HMGET', KEYS[1], 'id', 'token', 'queue')
if held[1] == ARGV[1] then
  -- The same request once more, its first answer lost: the same grant.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return held[2]
end
-- include grant.lua
local token = new_token(KEYS[2], ARGV[4])
if held[1] then
  redis.call('HSET', KEYS[2], 'deposed', held[1], 'why', 'taken over', 'below', token)
end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('HSET', KEYS[1], 'kind', 'lease', 'v', '1', 'id', ARGV[1], 'owner', ARGV[2],
  'token', token, 'since', stamp, 'ttl', ARGV[3], 'meta', ARGV[5])
if held[3] or held[1] == 'queue' then
  redis.call('HSET', KEYS[1], 'queue', '1')
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return token
