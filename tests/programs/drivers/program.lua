print(_VERSION, #arg, table.concat(arg, ","))

-- Closures, metatables, inheritance.
local Account = {}
Account.__index = Account
function Account.new(balance) return setmetatable({ balance = balance }, Account) end
function Account:deposit(amount)
  if amount <= 0 then error({ code = 7, amount = amount }) end
  self.balance = self.balance + amount
  return self
end
Account.__add = function(a, b) return Account.new(a.balance + b.balance) end
Account.__tostring = function(a) return string.format("<%.2f>", a.balance) end
print(tostring(Account.new(10):deposit(2.5) + Account.new(1)))
local ok, problem = pcall(Account.deposit, Account.new(1), -3)
print(ok, type(problem), problem.code, problem.amount)

-- Errors through many frames and through C functions.
local function deep(n) if n == 0 then error("deep down", 2) end return 1 + deep(n - 1) end
print(pcall(deep, 100))
print(select("#", pcall(string.rep)), (select(2, pcall(string.rep))))
print(pcall(table.sort, { 3, 1, 2 }, function() error("in a comparison") end))
print(xpcall(function() return nil + 1 end, function(m) return "handled: " .. m end))
local function overflow() return 1 + overflow() end
print((select(2, pcall(overflow)):gsub(":.*", "")))

-- Coroutines, also through a C function, and wrapped.
local generate = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i, i * i) end return "done" end)
print(generate()) print(generate()) print(generate()) print(generate())
local through = coroutine.create(function() return "got", twice() end)
print(coroutine.resume(through)) print(coroutine.resume(through, 2)) print(coroutine.status(through))
print(coroutine.resume(coroutine.create(function() error("inside") end)))

-- Numbers.
print(7 // 2, -7 // 2, 7 % -3, 7.5 // 2, 2 ^ 0.5, 1e300 * 1e10, -(0 / 0) ~= -(0 / 0), math.maxinteger + 1 == math.mininteger)
print(string.format("%5.2f|%-6d|%x|%q|%a", math.pi, 42, 255, "a\nb\0c", 0.5), 0x7fffffffffffffff, 1 << 62, ~0, 5 // 0.0)
print(math.tointeger("8"), tonumber("0x1p4"), tonumber("z", 36), tonumber("1e1"), math.type(1), math.type(1.0))
print(math.floor(-3.5), math.ceil(-3.5), math.fmod(-7, 3), math.ult(1, -1), string.format("%.14g", math.exp(1)))

-- Strings, patterns, packing, UTF-8.
print(("The quick brown fox"):gsub("%w+", function(w) return w:reverse():upper() end))
for key, value in ("a=1, b=2, c=3"):gmatch("(%w+)=(%w+)") do io.write(key, "->", value, " ") end print()
print(("%bxy"):rep(2, "|"), ("f(a(b)c)d"):match("%b()"), ("key = value"):find("^(%w+)%s*=%s*(%w+)$"))
print(string.unpack("<i4z", string.pack("<i4z", -2, "packed")), #string.pack("!8 i1 d", 1, 2))
print(utf8.char(72, 228, 8364, 128512), utf8.len("Hä€😀"), utf8.codepoint("€", 1))

-- Tables, sorting, goto.
local numbers = {}
local seed = 42
for i = 1, 2000 do seed = (seed * 1103515245 + 12345) % 2147483648 numbers[i] = seed end
table.sort(numbers)
local sum = 0
for i = 2, #numbers do assert(numbers[i - 1] <= numbers[i]) sum = sum + numbers[i] % i end
print(sum, #numbers, table.concat({ table.unpack(numbers, 1, 3) }, " "), table.pack(1, nil, 3).n)
print(table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), ","))
for i = 1, 3 do
  for j = 1, 3 do if j == 2 then goto continue end io.write(i, ":", j, " ") ::continue:: end
end
print()

-- Sieve and n-queens: the interpreter's loop.
local sieve, primes = {}, 0
for i = 2, 30000 do
  if not sieve[i] then primes = primes + 1 for j = i * i, 30000, i do sieve[j] = true end end
end
local function queens(n, row, columns, up, down)
  if row > n then return 1 end
  local found = 0
  for c = 1, n do
    if not (columns[c] or up[row + c] or down[row - c]) then
      columns[c], up[row + c], down[row - c] = true, true, true
      found = found + queens(n, row + 1, columns, up, down)
      columns[c], up[row + c], down[row - c] = nil, nil, nil
    end
  end
  return found
end
print(primes, queens(7, 1, {}, {}, {}))

-- Garbage: weak tables, finalizers, to-be-closed variables, both collectors.
local weak = setmetatable({}, { __mode = "k" })
for i = 1, 100 do weak[{}] = i end
collectgarbage()
print(next(weak), counter(5):next())
collectgarbage("generational")
for i = 1, 20000 do local t = { i, tostring(i) } end
collectgarbage("incremental")
do
  local closed <close> = setmetatable({}, { __close = function(_, e) print("closed", e) end })
  local constant <const> = 3
  print(constant)
end
print(pcall(function() local c <close> = setmetatable({}, { __close = function(_, e) print("closing", e) end }) error("out", 0) end))

-- Files, dates, code from text, and the debug library.
local file = assert(io.open("lua.txt", "w"))
file:write("one\n", 2, "\n", 3.5, "\nlast line")
file:close()
for line in io.lines("lua.txt") do io.write("[", line, "]") end print()
file = io.open("lua.txt") print(file:read("l", "n", "n", "a")) print(file:seek("end"), io.type(file)) file:close()
print(io.open("no such file")) print(os.remove("no such file"))
print(os.date("!%Y-%m-%d %H:%M:%S", 86400 * 365), os.getenv("NO_SUCH_VARIABLE"))
print(load("return 1 + ...")(41), load("syntax error here"), (load(string.dump(function(x) return x * 2 end), "d", "b"))(21))
print(debug.getinfo(1, "l").currentline, debug.getinfo(print).what, package.config:sub(1, 1))
io.stderr:write("to stderr\n")
counter(9)
error("the end")
