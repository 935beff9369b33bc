-- Keep new jobs and queue them, all or none, or find those that their idempotency key stands for.
--
-- KEYS[1] 3d:queue               list    job ids ready for a worker, first in, first out
-- KEYS[2] 3d:jobs:{owner}        zset    job id → time of submission, ms
-- KEYS[3] 3d:unfinished:{owner}  set     ids of jobs that have not ended
-- KEYS[4] 3d:idem:{owner}:{key}  string  "job_id,job_id… body_sha256"; only with a key
-- job:{id}                       hash    the job
-- ARGV[1] owner   ARGV[2] most jobs queued   ARGV[3] most unfinished jobs of one owner (0: any number)
-- ARGV[4] body sha256 ('' without key)   ARGV[5] key's life, s
-- ARGV[6…] for every job: id, number of fields and values, field, value, …
-- Returns {'ok', id, …} | {'full', length} | {'capped', unfinished} | {'reused'}
if ARGV[4] ~= '' then
  local known = redis.call('GET', KEYS[4])
  if known then
    local before, body = known:match('^(%S+) (%S+)$')
    if body ~= ARGV[4] then return {'reused'} end
    local ids = {'ok'}
    for id in before:gmatch('[^,]+') do ids[#ids + 1] = id end
    if redis.call('EXISTS', 'job:' .. ids[2]) == 1 then return ids end
  end
end
local ids, at = {'ok'}, 6
while at <= #ARGV do
  ids[#ids + 1] = ARGV[at]
  at = at + 2 + ARGV[at + 1]
end
if redis.call('EXISTS', 'job:' .. ids[2]) == 1 then return ids end -- a repeated call after a lost reply
local length, new = redis.call('LLEN', KEYS[1]), #ids - 1
if length + new > tonumber(ARGV[2]) then return {'full', length} end
if tonumber(ARGV[3]) > 0 then
  local unfinished = redis.call('SCARD', KEYS[3])
  if unfinished + new > tonumber(ARGV[3]) then return {'capped', unfinished} end
end
local now = now_ms()
at = 6
for i = 2, #ids do
  local id, count = ids[i], tonumber(ARGV[at + 1])
  local entry = outbox(id, ARGV[1], [[@SUBMITTED@]])
  redis.call('HSET', 'job:' .. id, 'submitted', entry, unpack(ARGV, at + 2, at + 1 + count))
  redis.call('ZADD', KEYS[2], now, id)
  redis.call('SADD', KEYS[3], id)
  redis.call('RPUSH', KEYS[1], id)
  at = at + 2 + count
end
if ARGV[4] ~= '' then redis.call('SET', KEYS[4], table.concat(ids, ',', 2) .. ' ' .. ARGV[4], 'EX', ARGV[5]) end
return ids
