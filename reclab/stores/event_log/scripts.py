"""What the Redis event log does inside Redis: five steps that must not be torn apart, in Lua.

A partition is a stream whose entry ids are ``offset + 1`` (a stream has no id 0) and a counter of
the next offset; both carry the same hash tag, so a cluster keeps them together. A group is three
keys beside its topic: when each member's lease ends, who owns which partition, what is committed.
Reference: Redis documentation: Lua scripting, streams.
"""

import hashlib

# keys: stream, next offset, batch; arguments: time, life of the batch's name, packed entries.
# -> first offset. A batch whose answer was lost on the way is known by its name and not repeated.
APPEND = """
local known = redis.call('GET', KEYS[3])
if known then return tonumber(known) end
local base = tonumber(redis.call('GET', KEYS[2]) or '0')
local data, at, n = ARGV[3], 1, 0
while at <= #data do
  local k, v
  k, v, at = struct.unpack('<I4I4', data, at)
  redis.call('XADD', KEYS[1], string.format('%.0f-0', base + n + 1), 't', ARGV[1],
    'k', string.sub(data, at, at + k - 1), 'v', string.sub(data, at + k, at + k + v - 1))
  at = at + k + v
  n = n + 1
end
redis.call('INCRBY', KEYS[2], n)
redis.call('SET', KEYS[3], base, 'PX', ARGV[2])
return base
"""

# key: stream; arguments: first offset, most entries, most bytes -> {heads, bodies}. One string for
# all entries: as replies of their own, each would cost the client ten times as much to parse.
READ = """
local from, left, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local heads, bodies = {}, {}
while left > 0 and room > 0 do
  local found = redis.call('XRANGE', KEYS[1], string.format('%.0f-0', from + 1), '+',
    'COUNT', math.min(left, 500))
  for i, entry in ipairs(found) do
    local offset, f = tonumber(string.match(entry[1], '%d+')) - 1, entry[2]
    heads[#heads + 1] = struct.pack('<i8i8i4i4', offset, tonumber(f[2]), #f[4], #f[6])
    bodies[#bodies + 1] = f[4]
    bodies[#bodies + 1] = f[6]
    room = room - #f[4] - #f[6]
    from = offset + 1
    if room <= 0 then break end
  end
  left = left - #found
  if #found < 500 then break end
end
return {table.concat(heads), table.concat(bodies)}
"""

# keys: stream, next offset; arguments: first offset to keep, oldest time to keep (-1: any), never
# at or beyond this offset -> entries dropped. The time is found by halving: it does not fall.
TRIM = """
local function entry(offset)
  return redis.call('XRANGE', KEYS[1], string.format('%.0f-0', offset + 1), '+', 'COUNT', 1)[1]
end
local stop = tonumber(redis.call('GET', KEYS[2]) or '0')
local keep, oldest = tonumber(ARGV[1]), tonumber(ARGV[2])
if oldest >= 0 then
  local first = entry(0)
  local low, high = first and tonumber(string.match(first[1], '%d+')) - 1 or stop, stop
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(entry(middle)[2][2]) < oldest then low = middle + 1 else high = middle end
  end
  keep = math.max(keep, low)
end
keep = math.min(keep, tonumber(ARGV[3]), stop)
return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-0', keep + 1))
"""

# keys: leases, owners; arguments: member, session in ms, partitions -> {mine…}, {to give up…}, 1 if
# the lease was still good: if not, others may have had the partitions meanwhile. Every member
# computes the same shares from the same sorted list of the living. What another holds beyond its
# share is not taken: it gives it up itself, after it has committed.
HEARTBEAT = """
local t = redis.call('TIME')
local now, n = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local good = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local living = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(living)
local alive, share = {}, 0
for rank, member in ipairs(living) do
  alive[member] = true
  if member == ARGV[1] then
    share = math.floor(n / #living) + (rank <= n % #living and 1 or 0)
  end
end
local owner, mine, free, extra = {}, {}, {}, {}
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do owner[tonumber(held[i])] = held[i + 1] end
for p = 0, n - 1 do
  if owner[p] == ARGV[1] then mine[#mine + 1] = p
  elseif not (owner[p] and alive[owner[p]]) then free[#free + 1] = p end
end
while #mine > share do table.insert(extra, table.remove(mine)) end
while #mine < share and #free > 0 do
  local p = table.remove(free, 1)
  redis.call('HSET', KEYS[2], p, ARGV[1])
  mine[#mine + 1] = p
end
return {mine, extra, good}
"""

# keys: leases, owners, committed; arguments: member, session in ms, partition, next offset, …
# -> those that are not its own by now. If its lease ran out and nobody took them, it may commit.
COMMIT = """
local t, lost = redis.call('TIME'), {}
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1])
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  else lost[#lost + 1] = tonumber(ARGV[i]) end
end
return lost
"""

# keys: leases, owners; arguments: member, "leave" or "stay", partition, … : gives them up.
RELEASE = """
if ARGV[2] == 'leave' then redis.call('ZREM', KEYS[1], ARGV[1]) end
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then redis.call('HDEL', KEYS[2], ARGV[i]) end
end
return 0
"""

SHA = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in (APPEND, READ, TRIM, HEARTBEAT, COMMIT, RELEASE)
}
