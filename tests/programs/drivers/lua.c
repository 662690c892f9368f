// Runs a Lua script with the standard libraries and a function and a type of the host's.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static int allocations;

static void *allocate(void *data, void *old, size_t old_size, size_t size) {
    (void)data;
    (void)old_size;
    if (size == 0) {
        allocations -= old != 0;
        free(old);
        return 0;
    }
    allocations += old == 0;
    return realloc(old, size);
}

static int counter_next(lua_State *lua) {
    lua_Integer *counter = luaL_checkudata(lua, 1, "counter");
    lua_pushinteger(lua, ++*counter);
    return 1;
}

static int counter_closed(lua_State *lua) {
    lua_Integer *counter = luaL_checkudata(lua, 1, "counter");
    printf("counter %lld closed\n", (long long)*counter);
    return 0;
}

static int counter_new(lua_State *lua) {
    lua_Integer *counter = lua_newuserdatauv(lua, sizeof *counter, 0);
    *counter = luaL_optinteger(lua, 1, 0);
    luaL_setmetatable(lua, "counter");
    return 1;
}

// Yields in the middle of a C function.
static int twice_continued(lua_State *lua, int status, lua_KContext context) {
    (void)status;
    lua_pushinteger(lua, (lua_Integer)context + lua_tointeger(lua, -1));
    return 1;
}

static int twice(lua_State *lua) {
    lua_pushinteger(lua, 1);
    return lua_yieldk(lua, 1, 40, twice_continued);
}

static int traceback(lua_State *lua) {
    luaL_traceback(lua, lua, lua_tostring(lua, 1), 1);
    return 1;
}

static int panic(lua_State *lua) {
    fprintf(stderr, "panic: %s\n", lua_tostring(lua, -1));
    return 0;
}

int main(int argc, char **argv) {
    static const luaL_Reg methods[] = {{"next", counter_next}, {"__gc", counter_closed}, {0, 0}};
    if (argc < 2) return 2;
    lua_State *lua = lua_newstate(allocate, 0
#if LUA_VERSION_NUM >= 505
                                  , 42
#endif
    );
    lua_atpanic(lua, panic);
    luaL_openlibs(lua);
    luaL_newmetatable(lua, "counter");
    luaL_setfuncs(lua, methods, 0);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -2, "__index");
    lua_register(lua, "counter", counter_new);
    lua_register(lua, "twice", twice);
    lua_settop(lua, 0);
    lua_createtable(lua, argc, 0);
    for (int i = 2; i < argc; i++) {
        lua_pushstring(lua, argv[i]);
        lua_rawseti(lua, -2, i - 1);
    }
    lua_setglobal(lua, "arg");
    lua_pushcfunction(lua, traceback);
    FILE *script = fopen(argv[1], "r");
    char text[1 << 16];
    size_t size = script ? fread(text, 1, sizeof text, script) : 0;
    int status = luaL_loadbuffer(lua, text, size, "=program");
    if (status == LUA_OK) status = lua_pcall(lua, 0, 1, 1);
    if (script) fclose(script);
    if (status != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(lua, -1));
    int result = (int)lua_tointeger(lua, -1);
    lua_close(lua);
    printf("%d allocations left\n", allocations);
    return status != LUA_OK ? 1 : result;
}
