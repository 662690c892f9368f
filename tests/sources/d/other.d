module other;
static import core.stdc.stdio;

interface Shape { int area(); }
class Circle : Shape {
    int radius;
    this(int r) { radius = r; }
    override int area() { return 3 * radius * radius; }
}
class Broken : Exception {
    int code;
    this(int c) { super("broken"); code = c; }
}
void raise(int code) { throw new Broken(code); }
struct Pair(T) {
    T a, b;
    T sum() const { return a + b; }
}
int delegate(int) adder(int by) { return (int x) => by += x; }
private int hidden = 100;
static this() { hidden++; }
int tlsOf() { return hidden++; }
void say(const char* text) { core.stdc.stdio.puts(text); }
