-- Keep a new job and queue it, or find the one its idempotency key stands for.
--
-- KEYS[1] 3d:queue               list    job ids ready for a worker, first in, first out
-- KEYS[2] job:{id}               hash    the job
-- KEYS[3] 3d:jobs:{owner}        zset    job id → time of submission, ms
-- KEYS[4] 3d:idem:{owner}:{key}  string  "job_id body_sha256"; only with a key
-- ARGV[1] id   ARGV[2] most jobs queued   ARGV[3] body sha256 ('' without key)   ARGV[4] key's life, s
-- ARGV[5] event   ARGV[6…] field, value, …
-- Returns {'ok', id} | {'full', length} | {'reused', id}
if ARGV[3] ~= '' then
  local known = redis.call('GET', KEYS[4])
  if known then
    local id, body = known:match('^(%S+) (%S+)$')
    if body ~= ARGV[3] then return {'reused', id} end
    if redis.call('EXISTS', 'job:' .. id) == 1 then return {'ok', id} end
  end
end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'ok', ARGV[1]} end -- a repeated call after a lost reply
local length = redis.call('LLEN', KEYS[1])
if length >= tonumber(ARGV[2]) then return {'full', length} end
redis.call('HSET', KEYS[2], unpack(ARGV, 6))
redis.call('ZADD', KEYS[3], now_ms(), ARGV[1])
if ARGV[3] ~= '' then redis.call('SET', KEYS[4], ARGV[1] .. ' ' .. ARGV[3], 'EX', ARGV[4]) end
redis.call('RPUSH', KEYS[1], ARGV[1])
tell(ARGV[1], ARGV[5])
return {'ok', ARGV[1]}
