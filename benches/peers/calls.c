// What is called, how the compiler and the linker have it called, and the loop that calls it.
int one(void) { return 1; }

// The linkage table's entry of `one`, as calls of other files' functions go through it.
void *table_entry(void) {
    void *entry;
    __asm__("lea one@PLT(%%rip), %0" : "=r"(entry));
    return entry;
}

// Sixteen calls for each turn; what they return is added up.
long calls(int (*f)(void), long turns) {
    long sum = 0;
    for (long i = 0; i < turns; i++) {
#define FOUR sum += f(); sum += f(); sum += f(); sum += f();
        FOUR FOUR FOUR FOUR
    }
    return sum;
}
