-- One guarded change of a job: advance, finish, cancel, hand back, wait, resume. Compare-and-set on (state, version, token).
--
-- KEYS[1] job:{id}   hash  the job
-- KEYS[2] 3d:leases  zset  job id → end of the lease, ms
-- KEYS[3] 3d:claims  hash  token → job id
-- KEYS[4] 3d:queue   list  job ids ready for a worker
-- ARGV[1] id   ARGV[2] expected state   ARGV[3] expected version   ARGV[4] expected token ('*': whoever holds it)
-- ARGV[5] what becomes of the lease: 'keep' | 'drop' | 'requeue' (to the front) | 'queue' (to the end)
-- ARGV[6] event   ARGV[7…] field, value, … (with the new version and the id of this write)
-- Returns 'ok' or 'lost'.
local state, version, token, progress, write =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'version', 'token', 'progress', 'write_id'))
local fields = {}
for i = 7, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
if write and write == fields['write_id'] then return 'ok' end -- a repeated call after a lost reply
if state ~= ARGV[2] or version ~= ARGV[3] or (ARGV[4] ~= '*' and (token == '' or token ~= ARGV[4])) then
  return 'lost'
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
if tonumber(progress) > tonumber(fields['progress']) then redis.call('HSET', KEYS[1], 'progress', progress) end
if ARGV[5] ~= 'keep' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  if token ~= '' then redis.call('HDEL', KEYS[3], token) end
  redis.call('LREM', KEYS[4], 0, ARGV[1])
end
if ARGV[5] == 'requeue' then redis.call('LPUSH', KEYS[4], ARGV[1]) end
if ARGV[5] == 'queue' then redis.call('RPUSH', KEYS[4], ARGV[1]) end
tell(ARGV[1], ARGV[6])
return 'ok'
