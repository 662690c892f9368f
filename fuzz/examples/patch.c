// What the seeds of patch_plan are patched with.
extern int shared;
static int hidden;
extern __thread int tls;
extern int tiny(void);
int added = 5;

__attribute__((noinline)) static int helper(int x) { return x * 9 + hidden++; }
int more(int x) { return x + added; }
__attribute__((noinline)) int work(int x) { return helper(x) + shared + tiny() + tls + more(x); }
