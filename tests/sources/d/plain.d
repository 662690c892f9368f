// Without the run-time library: -betterC, -fno-druntime.
import core.stdc.stdio, core.stdc.stdlib;

struct List(T) {
    T* items;
    size_t count;
    void add(T item) {
        items = cast(T*) realloc(items, (count + 1) * T.sizeof);
        items[count++] = item;
    }
    ~this() { free(items); printf("freed\n"); }
}
int perThread = 3;
__gshared int counter = 4;
immutable string[] names = ["zero", "one", "two"];
extern (C) int compare(const void* a, const void* b) { return *cast(int*) a - *cast(int*) b; }

extern (C) int main() {
    List!int list;
    foreach (i; 0 .. 5)
        list.add(10 - i);
    qsort(list.items, list.count, int.sizeof, &compare);
    foreach (i; 0 .. list.count)
        printf("%d ", list.items[i]);
    printf("%.*s %d %d\n", cast(int) names[1].length, names[1].ptr, perThread, counter);
    fprintf(stderr, "stderr\n");
    return list.items[0] == 6 ? 42 : 1;
}
