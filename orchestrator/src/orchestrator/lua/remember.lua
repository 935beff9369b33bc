-- Note that a caller asked for something under an idempotency key, or find what it asked for before.
--
-- KEYS[1] 3d:idem:{owner}:{key}  string  "job_id,job_id… body_sha256"
-- ARGV[1] body sha256   ARGV[2] job id ('': only look)   ARGV[3] key's life, s
-- Returns {'new'} | {'known', id, …} | {'reused'}
local known = redis.call('GET', KEYS[1])
if not known then
  if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[1], 'EX', ARGV[3]) end
  return {'new'}
end
local ids, body = known:match('^(%S+) (%S+)$')
if body ~= ARGV[1] then return {'reused'} end
local found = {'known'}
for id in ids:gmatch('[^,]+') do found[#found + 1] = id end
return found
