-- rows: for scripts that work for many callers, each with a row of keys and arguments. Included by other scripts.
-- returns nothing: it defines answer_of
local function answer_of(work, ...)
  local ok, answer = pcall(work, ...)
  if not ok and type(answer) == 'string' then -- Redis 7.0; a table elsewhere
    answer = {err = answer}
  end
  return answer -- an error is the answer of its row alone
end
