// What the seeds of patch_plan patch: each kind of symbol that a patch may share.
int shared = 3;
static int hidden;
const char *const name = "target";
__thread int tls = 4;

__attribute__((noinline)) static int helper(int x) { return x * 7 + hidden++; }
__attribute__((noinline)) int work(int x) { return helper(x) + shared + name[x & 3] + tls; }
__attribute__((noinline)) int tiny(void) { return 1; }
int (*pointer)(int) = work;

void _start(void) {
    int x = 0;
    for (;;) x = pointer(work(x)) + tiny();
}
