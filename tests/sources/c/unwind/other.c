int cleanups;
static void clean(int *marker) { cleanups += *marker; }

__attribute__((noinline)) int descend(int depth, int (*bottom)(void)) {
  __attribute__((cleanup(clean))) int marker = 1;
  int result = depth == 0 ? bottom() : descend(depth - 1, bottom);
  __asm__ volatile("" : "+r"(result)); // no tail call
  return result;
}
