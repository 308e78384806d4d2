#!lua flags=no-writes
-- read: tell values, or that there are none, and for how long that holds.
-- KEYS[1..] of each row: the value, {p}aside
-- returns of each row what reading says, or an error
-- include clock.lua
-- include reading.lua
-- include rows.lua
local now = server_ms()
local answers = {}
for i = 1, #KEYS, 2 do
  answers[#answers + 1] = answer_of(reading, KEYS[i], KEYS[i + 1], now)
end
return answers
