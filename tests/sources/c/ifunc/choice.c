#include "ifunc.h"

int resolved;
static int base = 10;

static int slow(int x) { return x + base; }
static int fast(int x) { return x + base + 1; }
static int baseline(int x) { return x + 64; }

// Resolvers read data that other relocations have filled in.
static int *const base_pointer = &base;
static function resolve_choice(void) {
  resolved++;
  return *base_pointer == 10 ? fast : slow;
}
int choice(int) __attribute__((ifunc("resolve_choice")));
static function resolve_hidden(void) { return slow; }
int hidden_choice(int) __attribute__((ifunc("resolve_hidden")));

static function resolve_feature(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse2") ? baseline : slow;
}
int feature(int) __attribute__((ifunc("resolve_feature")));

int call_choice(int x) { return choice(x); }
int call_hidden(int x) { return hidden_choice(x); }
function address_of_choice(void) { return choice; }
function address_of_hidden(void) { return hidden_choice; }
