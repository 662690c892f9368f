// What gcc and clang write for the ordinary things of C: it links, and runs.
//#Compilers: gcc clang-19
//#Case: default
//#Run: 42
//#Flags: -O0
//#Case: optimized
//#Run: 42
//#Flags: -O2
//#Case: pic
//#Run: 42
//#Flags: -O2 -fPIC
//#Case: no-plt
//#Run: 42
//#Flags: -O1 -fPIC -fno-plt
//#Case: large
//#Run: 42
//#Flags: -O1 -fPIC -mcmodel=large
//#Case: sections
//#Run: 42
//#Flags: -O1 -ffunction-sections -fdata-sections -g
//#Case: cet
//#Run: 42
//#Flags: -O1 -fcf-protection=full
static int one(void) { return 1; }
static int two(void) { return 2; }
__attribute__((noinline)) int three(void) { return 3; }

static int (*const table[])(void) = {one, two, three};
const char *const text[] = {"zero", "one", "twenty"};

__attribute__((noinline)) int choose(int n) {
    switch (n) {
    case 0: return 7;
    case 1: return 11;
    case 2: return 1;
    case 3: return 5;
    case 4: return 12;
    default: return 0;
    }
}

int run(void) {
    int sum = 0;
    for (int i = 0; i < 3; i++) sum += table[i]();
    for (int i = 0; i < 5; i++) sum += choose(i);
    return sum + text[2][0] - 't';
}
