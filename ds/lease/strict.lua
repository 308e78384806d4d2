-- strict: since when this server is the one that grants.
-- KEYS[1] {p}server
-- ARGV[1] ttl of the note, ms
-- returns {run_id, µs since it was first asked, server time in µs}
-- include server.lua
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local id = run_id()
local note = redis.call('HMGET', KEYS[1], 'server', 'since')
if note[1] ~= id or tonumber(note[2]) > now then
  note[2] = string.format('%.0f', now)
  redis.call('HSET', KEYS[1], 'kind', 'lease.server', 'v', '1', 'server', id, 'since', note[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {id, string.format('%.0f', now - note[2]), string.format('%.0f', now)}
